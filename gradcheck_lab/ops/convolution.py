"""Convolutions; both gradients are convolutions again."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._convolution import gradients
from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.ops._windows import Sizes, check_windows
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grads = tuple[torch.Tensor, ...]
Optional = torch.Tensor | None
CHOICES = {"stride": (1, 2), "padding": (0, 1), "dilation": (1, 2), "groups": (1, 2)}


@op(real("n c l"), real("o c k"), real("o"), choices=CHOICES)
def conv1d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: Optional = None,
    /,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> torch.Tensor:
    """y[n, o, t] = b[o] + Σ_{c, i} W[o, c, i] x[n, c, t · stride + i · dilation], over x padded with zeros.

    `x` (n, c, l), `weight` (o, c / groups, k), `bias` (o,), which may be left out; the output is (n, o, l') with
    l' = (l + 2 padding - dilation (k - 1) - 1) // stride + 1. With `groups` each part of the channels has weights of its own.
    Raises `InvalidArgument` for channels that do not divide into the groups, and for a kernel that does not fit.
    Source: Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 9.1.

    >>> conv1d(torch.tensor([[[1.0, 2.0, 4.0]]]), torch.tensor([[[-1.0, 1.0]]]))
    tensor([[[1., 2.]]])
    """
    return F.conv1d(x, weight, bias, stride, padding, dilation, groups)


@conv1d.accepts(real("n c l"), real("o c k"))
@conv1d.accepts(real("n 2c l"), real("2o c k"), real("2o"))
@conv1d.admits(real("n c l"), real("o p k"))
@conv1d.admits(real("n c l"), real("o p k"), real("o"))
@conv1d.validator
def check_conv1d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: Optional = None,
    /,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> None:
    """Raise `InvalidArgument` for channels, groups and kernels that do not fit."""
    _check("conv1d", 1, x, weight, stride, padding, dilation, groups)


@conv1d.backward
@rounded_once
def conv1d_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: Optional = None,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Grads:
    """dx = the transposed convolution of g by W,  dW = the correlation of x with g,  db = Σ g over examples and places."""
    return gradients(1, grad_output, x, weight, bias, stride, padding, dilation, groups)


@op(real("n c h w"), real("o c kh kw"), real("o"), choices=CHOICES)
def conv2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: Optional = None,
    /,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> torch.Tensor:
    """y[n, o, p] = b[o] + Σ_{c, i} W[o, c, i] x[n, c, p · stride + i · dilation] for places p and i in the plane.

    `x` (n, c, h, w), `weight` (o, c / groups, kh, kw), `bias` (o,), which may be left out; the output is (n, o, h', w') with
    h' = (h + 2 padding - dilation (kh - 1) - 1) // stride + 1. Padding is of zeros; `stride`, `padding` and `dilation` are
    one number or one for each axis. With `groups` each part of the channels has weights of its own.
    Raises `InvalidArgument` for channels that do not divide into the groups, and for a kernel that does not fit.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.

    >>> conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3), padding=1)[0, 0]
    tensor([[4., 6., 4.],
            [6., 9., 6.],
            [4., 6., 4.]])
    """
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


@conv2d.accepts(real("n c h w"), real("o c kh kw"))
@conv2d.accepts(real("n 2c h w"), real("2o c kh kw"), real("2o"))
@conv2d.admits(real("n c h w"), real("o p kh kw"))
@conv2d.admits(real("n c h w"), real("o p kh kw"), real("o"))
@conv2d.validator
def check_conv2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: Optional = None,
    /,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> None:
    """Raise `InvalidArgument` for channels, groups and kernels that do not fit."""
    _check("conv2d", 2, x, weight, stride, padding, dilation, groups)


@conv2d.backward
@rounded_once
def conv2d_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: Optional = None,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Grads:
    """dx = the transposed convolution of g by W,  dW = the correlation of x with g,  db = Σ g over examples and places."""
    return gradients(2, grad_output, x, weight, bias, stride, padding, dilation, groups)


def _check(
    name: str, axes: int, x: torch.Tensor, weight: torch.Tensor, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> None:
    if not all(isinstance(value, torch.Tensor) and value.ndim == axes + 2 for value in (x, weight)):
        return
    shapes = f"x has shape {tuple(x.shape)} and weight {tuple(weight.shape)}"
    if 0 in (*x.shape[1:], *weight.shape):
        raise InvalidArgument(f"{name}: {shapes}; all sizes but that of the batch are at least 1")
    if groups < 1 or weight.shape[0] % groups or x.shape[1] != weight.shape[1] * groups:
        raise InvalidArgument(
            f"{name}: {shapes} with {groups} groups; pass a weight of shape (o, channels / groups, ...), o a multiple of groups"
        )
    check_windows(name, x, tuple(weight.shape[2:]), stride, padding, dilation)
