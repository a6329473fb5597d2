"""Tensors and modules moved to the device and dtype of a test."""

from __future__ import annotations

import copy
from typing import Any

import torch

from gradcheck_lab.pytesting.marks import Placement


def placed(value: Any, placement: Placement) -> Any:
    """`value` with its tensors on the device and the floating ones in the dtype; what is there already is not copied."""
    if isinstance(value, torch.nn.Module):
        if all(_fits(tensor, placement) for tensor in (*value.parameters(), *value.buffers())):
            return value
        return copy.deepcopy(value).to(placement.device, _dtype(placement, False))
    if isinstance(value, torch.Tensor):
        floating = value.is_floating_point() or value.is_complex()
        return value.to(device=placement.device, dtype=_dtype(placement, value.is_complex()) if floating else None)
    if type(value) in (tuple, list):
        return type(value)(placed(each, placement) for each in value)
    if type(value) is dict:
        return {key: placed(each, placement) for key, each in value.items()}
    return value


def available(device: str) -> bool:
    """Whether a tensor can be made on `device`.

    Raises `ValueError` for a text that names no device of torch.
    """
    try:
        torch.device(device)
    except RuntimeError:
        raise ValueError(f"{device!r} names no device of torch; pass cpu, cuda, cuda:1 or the like") from None
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        return False
    return True


def _fits(tensor: torch.Tensor, placement: Placement) -> bool:
    few = tensor.detach().flatten()[:0]
    moved = placed(few, placement)
    return bool(moved.device == few.device and moved.dtype == few.dtype)


def _dtype(placement: Placement, is_complex: bool) -> torch.dtype | None:
    if placement.dtype is None:
        return None
    dtype: torch.dtype = getattr(torch, placement.dtype)
    if not is_complex:
        return dtype
    return torch.complex64 if dtype is torch.bfloat16 else dtype.to_complex()  # there is no complex bfloat16
