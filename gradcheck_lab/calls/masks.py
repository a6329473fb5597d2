"""Masks among the inputs of a call: booleans, zeros and ones, or zeros and a number that is added to scores to hide them."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.model.amounts import HIDDEN_BELOW


def mask_values(value: Any) -> tuple[float, float] | None:
    """The two values of a mask, the lower one first; None of anything else."""
    if not isinstance(value, torch.Tensor) or not value.ndim or not value.numel() or value.is_complex():
        return None
    if value.dtype == torch.bool:
        return 0, 1
    low = float(value.min())
    if low != 0 and not low <= HIDDEN_BELOW.value:
        return None
    high = float(value.max())
    either = bool(((value == low) | (value == high)).all())
    return (low, high) if either and ((low, high) == (0, 1) or (high == 0 and low <= HIDDEN_BELOW.value)) else None


def hides_scores(value: Any) -> bool:
    """Whether an input is a mask of a number that is added to scores to hide them."""
    values = mask_values(value)
    return values is not None and values[0] < 0


def size_beside_masks(value: torch.Tensor) -> float:
    """The largest absolute value of an input with elements; 0 of a mask that hides scores and leaves one in each row.

    What it leaves is as large as it was. With a row of large numbers alone the scores there are rounded to them; with one of
    infinities there are none.
    """
    if hides_scores(value) and (bool(torch.isinf(value).any()) or bool((value == 0).any(-1).all())):
        return 0.0
    return float(value.abs().max())
