"""Batch normalisation of torch, its buffers copied before it writes to them."""

import torch
from torch.nn import functional as F

from gradcheck_lab import ops


def batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mean, var = running_mean.detach().clone(), running_var.detach().clone()
    return F.batch_norm(x, mean, var, weight, bias, training, momentum, eps), mean, var


TORCH = {
    ops.batch_norm: batch_norm,
}
