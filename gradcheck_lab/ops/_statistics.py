"""What normalisations of rows share: their statistics, and the gradient through these."""

from __future__ import annotations

import torch


def centred_rows(rows: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """x - mean over the last dimension, and 1 / sqrt(var + eps): their product is x̂.

    >>> centred_rows(torch.tensor([[1.0, 3.0]]), 0.0)
    (tensor([[-1.,  1.]]), tensor([[1.]]))
    """
    centred = rows - rows.mean(-1, keepdim=True)
    return centred, torch.rsqrt(torch.linalg.vecdot(centred, centred).unsqueeze(-1) / rows.shape[-1] + eps)


def through_statistics(
    direct: torch.Tensor, centred: torch.Tensor, rstd: torch.Tensor, total: torch.Tensor, along: torch.Tensor
) -> torch.Tensor:
    """rstd (h - mean h - x̂ mean(h x̂)), what reaches x of the gradient h of x̂ = `centred` · `rstd`.

    `direct` (n, m) is h rstd, and is written to; `total` and `along` (n,) are Σ h and Σ h (x - mean).

    >>> centred, rstd = centred_rows(torch.tensor([[1.0, 3.0]]), 0.0)
    >>> h = torch.tensor([[0.0, 5.0]])
    >>> through_statistics(h * rstd, centred, rstd, h.sum(-1), (h * centred).sum(-1))
    tensor([[0., 0.]])
    """
    through_mean = total.unsqueeze(-1) * rstd / direct.shape[-1]
    through_variance = along.unsqueeze(-1) * rstd * rstd * rstd / direct.shape[-1]
    return direct.addcmul_(centred, through_variance, value=-1).sub_(through_mean)
