"""Pooling over windows of a plane, which may overlap."""

from __future__ import annotations

import itertools

import torch
from torch.nn import functional as F

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.ops._windows import Each, Sizes, by_axis, check_windows, places
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grad = tuple[torch.Tensor]
CHOICES = {"kernel_size": (2, 1, 3, (2, 1)), "stride": (None, 1, 2), "padding": (0, 1)}


@op(real("n c h w"), choices={**CHOICES, "dilation": (1, 2), "ceil_mode": (False, True)})
def max_pool2d(
    x: torch.Tensor,
    *,
    kernel_size: Sizes = 2,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> torch.Tensor:
    """The largest element of every window.

    `x` (n, c, h, w) or (c, h, w); the output (n, c, h', w') or (c, h', w') with
    h' = (h + 2 padding - dilation (k - 1) - 1) // stride + 1, rounded up in `ceil_mode`. `stride` is the kernel's size where it
    is None; what is padded never wins.
    Of equal elements the first in the window wins, and has all of its gradient; one that wins several windows has their sum.
    Raises `InvalidArgument` for a kernel that does not fit, for more padding than half of it, and for windows of padding alone.
    Source: Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 9.3.

    >>> max_pool2d(torch.arange(16.0).reshape(1, 4, 4))
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """
    return F.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)


@max_pool2d.accepts(real("c h w"))
@max_pool2d.validator
def check_max_pool2d(
    x: torch.Tensor,
    *,
    kernel_size: Sizes = 2,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> None:
    """Raise `InvalidArgument` for windows that do not fit."""
    _check("max_pool2d", x, kernel_size, stride, padding, dilation)


@max_pool2d.backward
@rounded_once
def max_pool2d_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    *,
    kernel_size: Sizes = 2,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Grad:
    """dx = g added where each window's maximum stands, at the first of equals."""
    kernel, around, steps = by_axis(kernel_size, 2), by_axis(padding, 2), by_axis(dilation, 2)
    strides = kernel if stride is None else by_axis(stride, 2)
    margins = _margins(x, output, kernel, strides, around, steps)
    padded = F.pad(x, margins, value=torch.nan) if any(margins) else x  # NaN equals no maximum
    height, width = padded.shape[-2:]
    whole = torch.int32 if height * width < 2**31 else torch.int64
    corners = zip(output.shape[-2:], strides, strict=True)
    rows, columns = (torch.arange(0, n * s, s, dtype=whole, device=x.device) for n, s in corners)
    winner = (rows.unsqueeze(-1) * width + columns).repeat(*output.shape[:-2], 1, 1)
    looking = torch.ones_like(output, dtype=torch.bool)
    offsets = [i * steps[0] * width + j * steps[1] for i, j in itertools.product(*map(range, kernel))]
    passed = zip(places(kernel, strides, steps, output.shape[-2:]), itertools.pairwise(offsets), strict=False)
    for place, (here, following) in passed:  # the last place is left over for those that found none before
        looking = looking & (padded[place] != output)
        winner.add_(looking, alpha=following - here)
    grad = torch.zeros_like(padded).flatten(-2).scatter_add_(-1, winner.long().flatten(-2), grad_output.flatten(-2))
    grad = grad.reshape(padded.shape)
    return (F.pad(grad, [-margin for margin in margins]) if any(margins) else grad,)


@op(real("n c h w"), choices={**CHOICES, "count_include_pad": (True, False)})
def avg_pool2d(
    x: torch.Tensor,
    *,
    kernel_size: Sizes = 2,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    count_include_pad: bool = True,
) -> torch.Tensor:
    """The mean of every window.

    `x` (n, c, h, w) or (c, h, w); the output (n, c, h', w') or (c, h', w') with h' = (h + 2 padding - k) // stride + 1.
    `stride` is the kernel's size where it is None. The zeros that are padded count as elements where `count_include_pad`.
    Raises `InvalidArgument` for a kernel that does not fit, and for more padding than half of it.
    Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998.

    >>> avg_pool2d(torch.arange(16.0).reshape(1, 4, 4))
    tensor([[[ 2.5000,  4.5000],
             [10.5000, 12.5000]]])
    """
    return F.avg_pool2d(x, kernel_size, stride, padding, False, count_include_pad)


@avg_pool2d.accepts(real("c h w"))
@avg_pool2d.validator
def check_avg_pool2d(
    x: torch.Tensor,
    *,
    kernel_size: Sizes = 2,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    count_include_pad: bool = True,
) -> None:
    """Raise `InvalidArgument` for windows that do not fit."""
    _check("avg_pool2d", x, kernel_size, stride, padding, 1)


@avg_pool2d.backward
@rounded_once
def avg_pool2d_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    *,
    kernel_size: Sizes = 2,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    count_include_pad: bool = True,
) -> Grad:
    """dx = g / count, added to every element of its window."""
    kernel, steps = by_axis(kernel_size, 2), by_axis(kernel_size if stride is None else stride, 2)
    around, sizes = by_axis(padding, 2), tuple(x.shape[-2:])
    count: float | torch.Tensor = kernel[0] * kernel[1]
    if not count_include_pad:
        count = count * F.avg_pool2d(x.new_ones(1, *sizes), kernel, steps, around, False, True)
    share, margins = grad_output / count, _margins(x, output, kernel, steps, around, (1, 1))
    grad = F.pad(torch.zeros_like(x), margins)
    for place in places(kernel, steps, (1, 1), output.shape[-2:]):
        grad[place].add_(share)
    return (F.pad(grad, [-margin for margin in margins]),)


def _margins(x: torch.Tensor, output: torch.Tensor, kernel: Each, stride: Each, padding: Each, dilation: Each) -> list[int]:
    """What to pad on either side, as F.pad takes it, for all windows to lie inside."""
    margins = []
    for axis in (1, 0):
        reach = (output.shape[axis - 2] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1
        margins += [padding[axis], max(0, reach - padding[axis] - x.shape[axis - 2])]
    return margins


def _check(name: str, x: torch.Tensor, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, dilation: Sizes) -> None:
    if not isinstance(x, torch.Tensor) or x.ndim not in (3, 4):
        return
    if 0 in x.shape[-3:]:
        raise InvalidArgument(f"{name}: x has shape {tuple(x.shape)}; all sizes but that of the batch are at least 1")
    kernel = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    check_windows(name, x, kernel, kernel if stride is None else stride, padding, dilation)
    if any(2 * p > k for p, k in zip(by_axis(padding, 2), kernel, strict=True)):
        raise InvalidArgument(f"{name}: padding {padding} is more than half of the kernel {kernel}; pad less")
    if any(d > n and k > 1 for d, n, k in zip(by_axis(dilation, 2), x.shape[-2:], kernel, strict=True)):
        raise InvalidArgument(
            f"{name}: dilation {dilation} steps over all of x, which has shape {tuple(x.shape)}, from padding to padding; "
            "dilate less"
        )
