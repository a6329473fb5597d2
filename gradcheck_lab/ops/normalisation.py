"""Normalisation of each example by its own statistics, whole or by groups of channels."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.ops._statistics import centred_rows, through_statistics
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grads = tuple[torch.Tensor, ...]
Optional = torch.Tensor | None
EPSILONS = (1e-5, 1e-2)


@op(real("*b d"), real("d"), real("d"), choices={"eps": EPSILONS})
def layer_norm(x: torch.Tensor, weight: Optional = None, bias: Optional = None, /, *, eps: float = 1e-5) -> torch.Tensor:
    """(x - mean) / sqrt(var + eps) · weight + bias, over as many last dimensions as `weight` has; the variance is biased.

    `x` (*b, *d), `weight` and `bias` (*d), where `bias` may be left out, or both: then the last dimension is normalised.
    The output has the shape of `x`. Raises `InvalidArgument` for a weight that is no end of the shape of `x`.
    Source: Ba, Kiros and Hinton, "Layer normalization", 2016.

    >>> layer_norm(torch.tensor([[1.0, 3.0]]), torch.ones(2), torch.zeros(2), eps=0.0)
    tensor([[-1.,  1.]])
    """
    return F.layer_norm(x, _normalised(x, weight), weight, bias, eps)


layer_norm.accepts(real("*b h w"), real("h w"), real("h w"))
layer_norm.accepts(real("*b d"), real("d"))
layer_norm.admits(real("*s"), real("*d"))


@layer_norm.accepts(real("*b d"))
@layer_norm.admits(real("*s"), real("*d"), real("*d"))
@layer_norm.validator
def check_layer_norm(x: torch.Tensor, weight: Optional = None, bias: Optional = None, /, *, eps: float = 1e-5) -> None:
    """Raise `InvalidArgument` for a weight that does not say which dimensions to normalise."""
    _check_rows("layer_norm", x, weight, bias)


@layer_norm.backward
@rounded_once
def layer_norm_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    weight: Optional = None,
    bias: Optional = None,
    *,
    eps: float = 1e-5,
) -> Grads:
    """dx = (h - mean h - x̂ mean(h x̂)) / sqrt(var + eps) with h = g weight,  dweight = Σ g x̂,  dbias = Σ g."""
    size = _normalised(x, weight).numel()
    shape = (x.numel() // size, size)
    rows, g = x.reshape(shape), grad_output.reshape(shape)
    centred, rstd = centred_rows(rows, eps)
    along = g * centred
    if weight is None:
        return (through_statistics(g * rstd, centred, rstd, g.sum(-1), along.sum(-1)).reshape(x.shape),)
    w = weight.reshape(size)
    sums, dweight = (g @ w, along @ w), (rstd.squeeze(-1) @ along).reshape(weight.shape)
    del along  # its memory serves the next product
    dx = through_statistics((g * w).mul_(rstd), centred, rstd, *sums).reshape(x.shape)
    return (dx, dweight) if bias is None else (dx, dweight, g.sum(0).reshape(bias.shape))


@op(real("*b d"), real("d"), choices={"eps": EPSILONS})
def rms_norm(x: torch.Tensor, weight: Optional = None, /, *, eps: float = 1e-6) -> torch.Tensor:
    """x / sqrt(mean x² + eps) · weight, over as many last dimensions as `weight` has.

    `x` (*b, *d), `weight` (*d), which may be left out: then the last dimension is normalised. The output has the shape
    of `x`. Raises `InvalidArgument` for a weight that is no end of the shape of `x`.
    Source: Zhang and Sennrich, "Root mean square layer normalization", 2019.

    >>> (rms_norm(torch.tensor([3.0, 4.0]), torch.full((2,), 5.0), eps=0.0) * 0.5**0.5).round()
    tensor([3., 4.])
    """
    return F.rms_norm(x, _normalised(x, weight), weight, eps)


rms_norm.accepts(real("*b h w"), real("h w"))


@rms_norm.accepts(real("*b d"))
@rms_norm.admits(real("*s"), real("*d"))
@rms_norm.validator
def check_rms_norm(x: torch.Tensor, weight: Optional = None, /, *, eps: float = 1e-6) -> None:
    """Raise `InvalidArgument` for a weight that does not say which dimensions to normalise."""
    _check_rows("rms_norm", x, weight, None)


@rms_norm.backward
@rounded_once
def rms_norm_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, weight: Optional = None, *, eps: float = 1e-6
) -> Grads:
    """dx = r (h - x̂ mean(h x̂)) with r = 1 / sqrt(mean x² + eps), x̂ = r x and h = g weight,  dweight = Σ g x̂."""
    size = _normalised(x, weight).numel()
    shape = (x.numel() // size, size)
    rows, g = x.reshape(shape), grad_output.reshape(shape)
    r = torch.rsqrt(rows.square().mean(-1, keepdim=True) + eps)
    standard = rows * r
    h = g if weight is None else g * weight.reshape(size)
    dx = (r * (h - standard * (h * standard).mean(-1, keepdim=True))).reshape(x.shape)
    return (dx,) if weight is None else (dx, (g * standard).sum(0).reshape(weight.shape))


@op(real("n c *s"), real("c"), real("c"), choices={"num_groups": (1, 2, 3), "eps": EPSILONS})
def group_norm(
    x: torch.Tensor, weight: Optional = None, bias: Optional = None, /, *, num_groups: int = 1, eps: float = 1e-5
) -> torch.Tensor:
    """(x - mean) / sqrt(var + eps) · weight + bias, over each group of neighbouring channels of an example.

    `x` (n, c, *s), `weight` and `bias` (c,), where `bias` may be left out, or both. The output has the shape of `x`. With one
    group all of an example is normalised at once, with c groups each channel (instance normalisation).
    Raises `InvalidArgument` for groups that c channels do not divide into.
    Source: Wu and He, "Group normalization", 2018.

    >>> group_norm(torch.tensor([[1.0, 3.0, 10.0, 30.0]]), num_groups=2, eps=0.0)
    tensor([[-1.,  1., -1.,  1.]])
    """
    return torch.group_norm(x, num_groups, weight, bias, eps)


group_norm.accepts(real("n c *s"), real("c"))


@group_norm.accepts(real("n c *s"))
@group_norm.validator
def check_groups(
    x: torch.Tensor, weight: Optional = None, bias: Optional = None, /, *, num_groups: int = 1, eps: float = 1e-5
) -> None:
    """Raise `InvalidArgument` for channels that do not divide into the groups, and for groups without elements."""
    if not isinstance(x, torch.Tensor) or x.ndim < 2:
        return
    channels = x.shape[1]
    if num_groups < 1 or channels % num_groups:
        raise InvalidArgument(
            f"group_norm: x has shape {tuple(x.shape)}, and its {channels} channels do not divide into {num_groups} groups; "
            "pass a num_groups that divides them"
        )
    if x.shape[1:].numel() == 0:
        raise InvalidArgument(f"group_norm: x has shape {tuple(x.shape)}, nothing to normalise; pass at least one element")


@group_norm.backward
@rounded_once
def group_norm_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    weight: Optional = None,
    bias: Optional = None,
    *,
    num_groups: int = 1,
    eps: float = 1e-5,
) -> Grads:
    """dx = (h - mean h - x̂ mean(h x̂)) / sqrt(var + eps) over each group, h = g weight,  dweight = Σ g x̂,  dbias = Σ g."""
    n, channels = x.shape[:2]
    grouped = (n, num_groups, x.shape[1:].numel() // num_groups)
    by_channel = (n, channels, x.shape[2:].numel())
    centred, rstd = centred_rows(x.reshape(grouped), eps)
    g = grad_output.reshape(by_channel)
    total, along = g.sum(-1), (g * centred.reshape(by_channel)).sum(-1)  # of each channel of each example
    if weight is None:
        direct, sums = g.reshape(grouped) * rstd, (total, along)
    else:
        direct, sums = (g * weight.unsqueeze(-1)).reshape(grouped).mul_(rstd), (total * weight, along * weight)
    in_groups = (n, num_groups, channels // num_groups)
    dx = through_statistics(direct, centred, rstd, *(each.reshape(in_groups).sum(-1) for each in sums)).reshape(x.shape)
    if weight is None:
        return (dx,)
    dweight = (along.reshape(in_groups) * rstd).sum(0).reshape(channels)
    return (dx, dweight) if bias is None else (dx, dweight, total.sum(0))


def _normalised(x: torch.Tensor, weight: Optional) -> torch.Size:
    return x.shape[-1:] if weight is None else weight.shape


def _check_rows(name: str, x: torch.Tensor, weight: Optional, bias: Optional) -> None:
    given = [value for value in (x, weight, bias) if value is not None]
    if not all(isinstance(value, torch.Tensor) for value in given):
        return
    shapes = [tuple(value.shape) for value in given]
    if weight is not None and not (weight.ndim and shapes[0][-weight.ndim :] == shapes[1]):
        raise InvalidArgument(
            f"{name}: x has shape {shapes[0]} and weight {shapes[1]}; pass a weight of the last dimensions of x, "
            f"such as {shapes[0][-1:]}"
        )
    if x.ndim and _normalised(x, weight).numel() == 0:
        raise InvalidArgument(f"{name}: x has shape {shapes[0]}, nothing to normalise; pass at least one element")
