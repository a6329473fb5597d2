"""Tensors and modules as the options ask for them: on a device, in a dtype."""

from __future__ import annotations

import copy
from typing import Any

import torch

from gradcheck_lab.pytesting.marks import Target


def placed(value: Any, target: Target) -> Any:
    """`value` with its tensors on the target's device and the floating ones in its dtype; what fits already is not copied."""
    if isinstance(value, torch.nn.Module):
        if all(_fits(tensor, target) for tensor in (*value.parameters(), *value.buffers())):
            return value
        return copy.deepcopy(value).to(target.device, _dtype(target, False))
    if isinstance(value, torch.Tensor):
        floating = value.is_floating_point() or value.is_complex()
        return value.to(device=target.device, dtype=_dtype(target, value.is_complex()) if floating else None)
    if type(value) in (tuple, list):
        return type(value)(placed(each, target) for each in value)
    if type(value) is dict:
        return {key: placed(each, target) for key, each in value.items()}
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


def _fits(tensor: torch.Tensor, target: Target) -> bool:
    few = tensor.detach().flatten()[:0]
    moved = placed(few, target)
    return bool(moved.device == few.device and moved.dtype == few.dtype)


def _dtype(target: Target, is_complex: bool) -> torch.dtype | None:
    if target.dtype is None:
        return None
    dtype: torch.dtype = getattr(torch, target.dtype)
    if not is_complex:
        return dtype
    return torch.complex64 if dtype is torch.bfloat16 else dtype.to_complex()  # there is no complex bfloat16
