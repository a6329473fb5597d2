"""Extremes of torch, which names no dimension for all of them."""

import torch

from gradcheck_lab import ops


def logsumexp(x: torch.Tensor, dim: int | tuple[int, ...] | None, keepdim: bool) -> torch.Tensor:
    return torch.logsumexp(x, tuple(range(x.ndim)) if dim is None else dim, keepdim)


def amax(x: torch.Tensor, dim: int | tuple[int, ...] | None, keepdim: bool) -> torch.Tensor:
    return torch.amax(x, () if dim is None else dim, keepdim)


def amin(x: torch.Tensor, dim: int | tuple[int, ...] | None, keepdim: bool) -> torch.Tensor:
    return torch.amin(x, () if dim is None else dim, keepdim)


TORCH = {
    ops.amax: amax,
    ops.amin: amin,
    ops.logsumexp: logsumexp,
}
