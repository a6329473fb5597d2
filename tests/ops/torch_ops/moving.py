"""Moves and padding of torch."""

import torch
from torch.nn import functional as F

from gradcheck_lab import ops


def flip(x: torch.Tensor, dims: int | tuple[int, ...] | None) -> torch.Tensor:
    every = tuple(range(x.ndim))
    return torch.flip(x, every if dims is None else (dims,) if isinstance(dims, int) else dims)


def pad(x: torch.Tensor, padding: tuple[int, ...], value: float) -> torch.Tensor:
    return F.pad(x, padding, value=value)


TORCH = {
    ops.flip: flip,
    ops.roll: torch.roll,
    ops.pad: pad,
    ops.tril: torch.tril,
}
