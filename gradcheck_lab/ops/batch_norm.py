"""Batch normalisation, with its running statistics as outputs instead of buffers."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.op import op
from gradcheck_lab.ops._precision import rounded_once, wide
from gradcheck_lab.specs import positive, real

Three = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Five = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@op(
    real("n c *s"),
    real("c"),
    positive("c"),
    real("c"),
    real("c"),
    choices={"training": (True, False), "momentum": (0.1, 0.5), "eps": (1e-5, 1e-2)},
)
def batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Three:
    """(x - mean) / sqrt(var + eps) · weight + bias for each channel; returns that, and the running statistics from now on.

    `x` (n, c, *s), all others (c,); the outputs are y (n, c, *s), and the new `running_mean` and `running_var` (c,).
    In training, mean and biased variance are those of the batch, and the running ones move towards the batch's mean and
    unbiased variance by `momentum`; else the running ones are used, and come back as they were. Nothing is written to: the
    caller keeps what comes back for the next call, so that a call can be repeated. The running statistics are
    differentiable like any input and output; pass no upstream for them to have torch's gradients.
    Raises `InvalidArgument` without channels, and in training with fewer than two values for each.
    Source: Ioffe and Szegedy, "Batch normalization", 2015; the running variance is torch's.

    >>> zero, one = torch.zeros(1), torch.ones(1)
    >>> y, mean, var = batch_norm(torch.tensor([[1.0], [3.0]]), zero, one, one, zero, training=True, eps=0.0)
    >>> y.flatten(), mean, var
    (tensor([-1.,  1.]), tensor([0.2000]), tensor([1.1000]))
    """
    values, old_mean, old_var, scale, shift = map(wide, (x, running_mean, running_var, weight, bias))
    mean, variance, unbiased = _statistics(values) if training else (old_mean, old_var, 1.0)
    slope = scale * torch.rsqrt(variance + eps)
    y = (values - _by_channel(mean, x)) * _by_channel(slope, x) + _by_channel(shift, x)
    if not training:
        return y.to(x.dtype), running_mean.clone(), running_var.clone()
    new_mean = (1 - momentum) * old_mean + momentum * mean
    new_var = (1 - momentum) * old_var + momentum * unbiased * variance
    return y.to(x.dtype), new_mean.to(x.dtype), new_var.to(x.dtype)


@batch_norm.validator
def check_values(
    x: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> None:
    """Raise `InvalidArgument` for an input without channels, and where a batch has no variance."""
    if not isinstance(x, torch.Tensor) or x.ndim < 2:
        return
    shape = tuple(x.shape)
    if not shape[1]:
        raise InvalidArgument(f"batch_norm: x has shape {shape} and no channels; pass at least one, as dimension 1")
    values = shape[0] * x.shape[2:].numel()
    if training and values < 2:
        raise InvalidArgument(
            f"batch_norm: x has shape {shape}, {values} for each channel, which has no variance; "
            "pass a larger batch, or training=False"
        )


@batch_norm.backward
@rounded_once
def batch_norm_backward(
    grad_output: Three,
    output: Three,
    x: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Five:
    """dx = weight (g - mean g - x̂ mean(g x̂)) / sqrt(var + eps),  dweight = Σ g x̂,  dbias = Σ g; see below for eval.

    With the upstreams gm and gv of the new running statistics, and n values for each channel, in training also
    dx += momentum (gm / n + 2 gv (x - mean) / (n - 1)),  drunning_mean = (1 - momentum) gm,  drunning_var = (1 - momentum) gv.
    In eval dx = g weight r with r = 1 / sqrt(running_var + eps),  drunning_mean = gm - weight r Σ g,
    drunning_var = gv - weight r² Σ g x̂ / 2.
    """
    g, g_mean, g_var = grad_output
    axes = [0, *range(2, x.ndim)]
    mean, variance, unbiased = _statistics(x) if training else (running_mean, running_var, 1.0)
    rstd = torch.rsqrt(variance + eps)
    centred = x - _by_channel(mean, x)
    standard = centred * _by_channel(rstd, x)
    dweight, dbias = (g * standard).sum(axes), g.sum(axes)
    slope = weight * rstd
    if not training:
        dmean, dvar = g_mean - slope * dbias, g_var - slope * rstd * dweight / 2
        return g * _by_channel(slope, x), dmean, dvar, dweight, dbias
    n = x.shape[0] * x.shape[2:].numel()
    # one multiple of g, one of x - mean, and a constant for each channel
    constant = (momentum * g_mean - slope * dbias) / n
    along = (2 * momentum * unbiased * g_var - slope * rstd * dweight) / n
    dx = g * _by_channel(slope, x) + centred * _by_channel(along, x) + _by_channel(constant, x)
    return dx, (1 - momentum) * g_mean, (1 - momentum) * g_var, dweight, dbias


def _statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The mean and the biased variance of each channel, and what makes the latter unbiased."""
    axes = [0, *range(2, x.ndim)]
    n = x.shape[0] * x.shape[2:].numel()
    mean = x.mean(axes)
    return mean, (x - _by_channel(mean, x)).square().mean(axes), n / max(1, n - 1)


def _by_channel(value: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return value.reshape(-1, *[1] * (x.ndim - 2))
