"""Losses of torch, over any leading dimensions."""

from typing import Any

import torch
from torch.nn import functional as F

from gradcheck_lab import ops


def cross_entropy(logits: torch.Tensor, target: torch.Tensor, reduction: str = "mean", **options: Any) -> torch.Tensor:
    classes = logits.shape[-1]
    count = logits.shape[:-1].numel()
    flat = target.reshape(count, classes) if target.is_floating_point() else target.reshape(count)
    if reduction == "mean" and not classes:  # torch divides by its number of elements over its number of classes, 0 / 0
        return cross_entropy(logits, target, "none", **options).mean()
    rows = F.cross_entropy(logits.reshape(count, classes), flat, reduction=reduction, **options)
    return rows.reshape(logits.shape[:-1]) if reduction == "none" else rows


def negative_log_likelihood(
    log_probabilities: torch.Tensor, target: torch.Tensor, reduction: str = "mean", **options: Any
) -> torch.Tensor:
    rows = log_probabilities.shape[:-1]
    flat = log_probabilities.reshape(rows.numel(), log_probabilities.shape[-1])
    losses = F.nll_loss(flat, target.reshape(-1), reduction=reduction, **options)
    return losses.reshape(rows) if reduction == "none" else losses


def two_step_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, reduction: str = "mean", eps: float = 1e-7
) -> torch.Tensor:
    losses = -(target * torch.log(F.softmax(logits, dim=-1) + eps)).sum(dim=-1)
    return {"none": losses, "sum": losses.sum(), "mean": losses.mean()}[reduction]


def mean_squared_error(prediction: torch.Tensor, target: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    if reduction == "batchmean":
        return F.mse_loss(prediction, target, reduction="sum") / prediction.shape[:-1].numel()
    return F.mse_loss(prediction, target, reduction=reduction)


def cosine_similarity(a: torch.Tensor, b: torch.Tensor, dim: int = -1, eps: float = 1e-8) -> torch.Tensor:
    return F.cosine_similarity(a, b, dim=dim, eps=eps)


def kl_divergence(
    log_probabilities: torch.Tensor, target: torch.Tensor, reduction: str = "mean", log_target: bool = False
) -> torch.Tensor:
    if reduction == "mean":  # torch warns of it
        return F.kl_div(log_probabilities, target, reduction="none", log_target=log_target).mean()
    return F.kl_div(log_probabilities, target, reduction=reduction, log_target=log_target)


TORCH = {
    ops.softmax_cross_entropy: cross_entropy,
    ops.nll_loss: negative_log_likelihood,
    ops.two_step_cross_entropy: two_step_cross_entropy,
    ops.binary_cross_entropy_with_logits: F.binary_cross_entropy_with_logits,
    ops.mse_loss: mean_squared_error,
    ops.l1_loss: F.l1_loss,
    ops.huber_loss: F.huber_loss,
    ops.kl_div: kl_divergence,
    ops.cosine_similarity: cosine_similarity,
}
