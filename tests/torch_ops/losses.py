"""Losses of torch, over any leading dimensions."""

import torch
from torch.nn import functional as F

from gradcheck_lab import ops


def cross_entropy(logits: torch.Tensor, target: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    classes = logits.shape[-1]
    count = logits.shape[:-1].numel()
    flat = target.reshape(count, classes) if target.is_floating_point() else target.reshape(count)
    rows = F.cross_entropy(logits.reshape(count, classes), flat, reduction=reduction)
    return rows.reshape(logits.shape[:-1]) if reduction == "none" else rows


def mean_squared_error(prediction: torch.Tensor, target: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    if reduction == "batchmean":
        return F.mse_loss(prediction, target, reduction="sum") / prediction.shape[:-1].numel()
    return F.mse_loss(prediction, target, reduction=reduction)


TORCH = {
    ops.softmax_cross_entropy: cross_entropy,
    ops.mse_loss: mean_squared_error,
}
