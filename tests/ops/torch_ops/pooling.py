"""Pooling of torch."""

from typing import Any

import torch
from torch.nn import functional as F

from gradcheck_lab import ops


def max_pool2d(x: torch.Tensor, kernel_size: Any = 2, **options: Any) -> torch.Tensor:
    return F.max_pool2d(x, kernel_size, **options)


def avg_pool2d(x: torch.Tensor, kernel_size: Any = 2, **options: Any) -> torch.Tensor:
    return F.avg_pool2d(x, kernel_size, **options)


TORCH = {
    ops.max_pool2d: max_pool2d,
    ops.avg_pool2d: avg_pool2d,
}
