"""Products of torch, which keeps a dimension only where one is named."""

import torch

from gradcheck_lab import ops


def prod(x: torch.Tensor, dim: int | None, keepdim: bool) -> torch.Tensor:
    if dim is None:
        return torch.prod(x).reshape([1] * x.ndim if keepdim else [])
    return torch.prod(x, dim, keepdim)


TORCH = {
    ops.prod: prod,
}
