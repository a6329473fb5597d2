"""Changes of shape of torch."""

import torch

from gradcheck_lab import ops


def permute(x: torch.Tensor, dims: tuple[int, ...] | None) -> torch.Tensor:
    return torch.permute(x, tuple(range(x.ndim - 1, -1, -1)) if dims is None else dims)


def squeeze(x: torch.Tensor, dim: int | tuple[int, ...] | None) -> torch.Tensor:
    return torch.squeeze(x) if dim is None else torch.squeeze(x, dim)


TORCH = {
    ops.reshape: torch.reshape,
    ops.transpose: torch.transpose,
    ops.permute: permute,
    ops.expand: lambda x, shape: x.expand(shape),
    ops.squeeze: squeeze,
    ops.unsqueeze: torch.unsqueeze,
}
