"""Tensors and modules moved to the device and dtype of a call."""

from __future__ import annotations

import copy
from typing import Any

import torch


def placed(value: Any, device: str | None, dtype: str | None) -> Any:
    """`value` with its tensors on the device and the floating ones in the dtype, None for neither.

    What is there already is not copied.
    """
    if isinstance(value, torch.nn.Module):
        if all(_fits(tensor, device, dtype) for tensor in (*value.parameters(), *value.buffers())):
            return value
        return copy.deepcopy(value).to(device, _dtype(dtype, False))
    if isinstance(value, torch.Tensor):
        floating = value.is_floating_point() or value.is_complex()
        return value.to(device=device, dtype=_dtype(dtype, value.is_complex()) if floating else None)
    if type(value) in (tuple, list):
        return type(value)(placed(each, device, dtype) for each in value)
    if type(value) is dict:
        return {key: placed(each, device, dtype) for key, each in value.items()}
    return value


def available(device: str) -> bool:
    """Whether a tensor can be made on `device`.

    Raises `ValueError` for a text that names no device of torch.
    """
    refuse_no_device(device)
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        return False
    return True


def refuse_no_device(device: str) -> None:
    """Raise `ValueError` for a text that names no device of torch."""
    try:
        torch.device(device)
    except RuntimeError:
        raise ValueError(f"{device!r} names no device of torch; pass cpu, cuda, cuda:1 or the like") from None


def _fits(tensor: torch.Tensor, device: str | None, dtype: str | None) -> bool:
    few = tensor.detach().flatten()[:0]
    moved = placed(few, device, dtype)
    return bool(moved.device == few.device and moved.dtype == few.dtype)


def _dtype(name: str | None, is_complex: bool) -> torch.dtype | None:
    if name is None:
        return None
    dtype: torch.dtype = getattr(torch, name)
    if not is_complex:
        return dtype
    return torch.complex64 if dtype is torch.bfloat16 else dtype.to_complex()  # there is no complex bfloat16
