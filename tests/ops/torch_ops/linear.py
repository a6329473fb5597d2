"""Matrix products of torch."""

import torch
from torch.nn import functional as F

from gradcheck_lab import ops


def affine(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.linear(x.flatten(1), weight.T, bias)


TORCH = {
    ops.linear: F.linear,
    ops.affine: affine,
    ops.matmul: torch.matmul,
}
