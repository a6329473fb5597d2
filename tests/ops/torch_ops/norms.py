"""Norms of torch."""

import torch

from gradcheck_lab import ops


def norm(x: torch.Tensor, p: float, dim: int | tuple[int, ...] | None, keepdim: bool) -> torch.Tensor:
    return torch.linalg.vector_norm(x, p, dim, keepdim)


TORCH = {
    ops.norm: norm,
}
