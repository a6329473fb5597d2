"""Batch normalisation, with its running statistics as outputs instead of buffers."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._precision import rounded_once, wide
from gradcheck_lab.rules.op import op
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
    values, old_mean, old_var = _channels(wide(x)), wide(running_mean), wide(running_var)
    centred, variance, mean, unbiased = _statistics(values, old_mean, old_var, training)
    slope = wide(weight) * torch.rsqrt(variance + eps)
    y = (centred * slope.unsqueeze(-1)).add_(wide(bias).unsqueeze(-1)).reshape(x.shape)
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
    g, g_mean, g_var = _channels(grad_output[0]), *grad_output[1:]
    centred, variance, _, unbiased = _statistics(_channels(x), running_mean, running_var, training)
    rstd = torch.rsqrt(variance + eps)
    slope = weight * rstd
    dweight, dbias = rstd * (g * centred).sum((0, 2)), g.sum((0, 2))
    if not training:
        dmean, dvar = g_mean - slope * dbias, g_var - slope * rstd * dweight / 2
        return (g * slope.unsqueeze(-1)).reshape(x.shape), dmean, dvar, dweight, dbias
    n = g.shape[0] * g.shape[2]
    # one multiple of g, one of x - mean, and a constant for each channel
    along = (2 * momentum * unbiased * g_var - slope * rstd * dweight) / n
    constant = (momentum * g_mean - slope * dbias) / n
    dx = (g * slope.unsqueeze(-1)).addcmul_(centred, along.unsqueeze(-1)).add_(constant.unsqueeze(-1))
    return dx.reshape(x.shape), (1 - momentum) * g_mean, (1 - momentum) * g_var, dweight, dbias


def _channels(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(*x.shape[:2], x.shape[2:].numel())


def _statistics(
    x: torch.Tensor, running_mean: torch.Tensor, running_var: torch.Tensor, training: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """x - mean, the variance and the mean that normalise x (n, c, m), and what makes a batch's variance unbiased."""
    n = x.shape[0] * x.shape[2]
    mean = x.sum((0, 2)) / n if training else running_mean
    centred = x - mean.unsqueeze(-1)
    variance = centred.square().sum((0, 2)) / n if training else running_var
    return centred, variance, mean, n / max(1, n - 1)
