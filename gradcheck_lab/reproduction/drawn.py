"""Inputs too large to write out, drawn anew: random values of the same shape, dtype, range and structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.similar_values import structure_of


def drawn_text(value: Any, seed: int) -> str:
    """An expression that draws a tensor or array like `value` from a seed of its own.

    >>> drawn_text(torch.randn(9, 9), 1), drawn_text(torch.randint(0, 2, (99,)), 0)
    ('torch.randn((9, 9), generator=torch.Generator().manual_seed(1))', \
'torch.randint(0, 2, (99,), generator=torch.Generator().manual_seed(0))')
    """
    if isinstance(value, np.ndarray):
        tensor = torch.from_numpy(np.array(value, order="C"))
        return f"{drawn_text(tensor, seed)}.numpy()"
    text = _values(value.detach(), f"generator=torch.Generator().manual_seed({seed})")
    text += "" if value.device.type == "cpu" else f".to({str(value.device)!r})"
    return f"{text}.requires_grad_()" if value.requires_grad else text


def _values(value: torch.Tensor, generator: str) -> str:
    shape, dtype = tuple(value.shape), f"dtype={value.dtype}"
    if value.dtype == torch.bool:
        return f"(torch.rand({shape}, {generator}) < {float(value.double().mean()):.2g})"
    if not (value.is_floating_point() or value.is_complex()):
        more = "" if value.dtype == torch.int64 else f", {dtype}"
        return f"torch.randint({int(value.min())}, {int(value.max()) + 1}, {shape}, {generator}{more})"
    structure, more = structure_of(value), "" if value.dtype == torch.get_default_dtype() else f", {dtype}"
    if structure.whole and not value.is_complex():
        return f"torch.randint({int(value.min())}, {int(value.max()) + 1}, {shape}, {generator}, {dtype})"
    if structure.at_most_one and not structure.rows_sum_to_one:
        return f"torch.rand({shape}, {generator}{more})"
    text = f"torch.randn({shape}, {generator}{more})"
    if structure.rows_sum_to_one:
        return f"{text}.softmax(-1)"
    size = float(value.abs().double().mean())
    scaled = "" if 0.3 < size < 3 else f".mul({size:.1g})"
    return f"{text}{scaled}{'.abs()' if structure.non_negative else ''}"
