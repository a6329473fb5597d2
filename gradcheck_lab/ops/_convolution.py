"""The gradients of a convolution, made of convolutions and products."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from gradcheck_lab.ops._windows import Sizes, by_axis, left_over, places


def gradients(
    axes: int,
    g: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> tuple[torch.Tensor, ...]:
    """The gradients of the input, the weight, and the bias where there is one, of a convolution along one axis or two."""
    transposed = F.conv_transpose1d if axes == 1 else F.conv_transpose2d
    kernel, steps = weight.shape[2:], [by_axis(value, axes) for value in (stride, padding, dilation)]
    rest = left_over(tuple(x.shape[2:]), tuple(kernel), *steps)
    dx = transposed(g, weight, None, steps[0], steps[1], rest, groups, steps[2])
    by_taps = x.shape[0] == 0 or axes == 1 or weight.shape[1] == 1
    dweight = (_of_weight_by_taps if by_taps else _of_weight)(g, x, kernel, steps, groups)
    return (dx, dweight) if bias is None else (dx, dweight, g.sum([0, *range(2, g.ndim)]))


def _of_weight_by_taps(
    g: torch.Tensor, x: torch.Tensor, kernel: torch.Size, steps: list[tuple[int, ...]], groups: int
) -> torch.Tensor:
    """The correlation of x with g, a product for each place of the kernel: quicker along a line, and channel by channel."""
    stride, padding, dilation = steps
    n, into, outof = x.shape[0], x.shape[1] // groups, g.shape[1] // groups
    padded, length = F.pad(x, [p for p in reversed(padding) for _ in range(2)]), g.shape[2:].numel()
    of_g = g.reshape(n, groups, outof, length)
    taps = []
    for place in places(tuple(kernel), stride, dilation, g.shape[2:]):
        of_x = padded[place].reshape(n, groups, into, length)
        taps.append(torch.linalg.vecdot(of_g, of_x) if into == outof == 1 else of_g @ of_x.mT)
    shape = (groups * outof, into, *kernel)
    return torch.stack([tap.sum(0).reshape(groups * outof, into) for tap in taps], -1).reshape(shape)


def _of_weight(g: torch.Tensor, x: torch.Tensor, kernel: torch.Size, steps: list[tuple[int, ...]], groups: int) -> torch.Tensor:
    """The correlation of x with g: examples take the place of channels, and stride and dilation swap theirs."""
    correlation = F.conv1d if len(kernel) == 1 else F.conv2d
    stride, padding, dilation = steps
    n, into, outof = x.shape[0], x.shape[1] // groups, g.shape[1] // groups
    of_x = x.reshape(n, groups, into, *x.shape[2:]).transpose(0, 2).reshape(into, groups * n, *x.shape[2:])
    of_g = g.transpose(0, 1) if groups == 1 else g.transpose(0, 1).reshape(groups * outof, n, *g.shape[2:])
    found = correlation(of_x, of_g, None, dilation, padding, stride, groups)
    for axis, size in enumerate(kernel, start=2):  # where the stride left elements over, windows beyond the kernel fit
        found = found.narrow(axis, 0, size)
    return found.transpose(0, 1)
