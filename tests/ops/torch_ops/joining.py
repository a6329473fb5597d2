"""Joining and splitting of torch."""

from typing import Any

import torch

from gradcheck_lab import ops


def concatenate(*tensors: torch.Tensor, **options: Any) -> torch.Tensor:
    return torch.cat(tensors, **options)


def stack(*tensors: torch.Tensor, **options: Any) -> torch.Tensor:
    return torch.stack(tensors, **options)


def split(x: torch.Tensor, split_size: int | tuple[int, ...], dim: int) -> tuple[torch.Tensor, ...]:
    return torch.split(x, split_size if isinstance(split_size, int) else list(split_size), dim)


TORCH = {
    ops.concatenate: concatenate,
    ops.stack: stack,
    ops.split: split,
}
