"""Normalisations of torch."""

import torch
from torch.nn import functional as F

from gradcheck_lab import ops


def layer_norm(x: torch.Tensor, *affine: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    return F.layer_norm(x, affine[0].shape if affine else x.shape[-1:], *affine, eps=eps)


def rms_norm(x: torch.Tensor, *affine: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    return F.rms_norm(x, affine[0].shape if affine else x.shape[-1:], *affine, eps=eps)


def group_norm(x: torch.Tensor, *affine: torch.Tensor, num_groups: int = 1, eps: float = 1e-5) -> torch.Tensor:
    return torch.group_norm(x, num_groups, *affine, eps=eps)


TORCH = {
    ops.layer_norm: layer_norm,
    ops.rms_norm: rms_norm,
    ops.group_norm: group_norm,
}
