"""Sound backwards of convolutions, pooling and resampling."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.random_sound.draws import WIDE, Draw
from tests.random_sound.forms import Rule, in_float32, sound


@sound(dtypes=WIDE)
def convolution_1d(draw: Draw) -> Rule:
    def forward(x: Tensor, weight: Tensor, stride: int = 1, padding: int = 0, dilation: int = 1) -> Tensor:
        return F.conv1d(x, weight, stride=stride, padding=padding, dilation=dilation)

    def by_taps(g: Tensor, y: Tensor, x: Tensor, weight: Tensor, stride: int = 1, padding: int = 0, dilation: int = 1) -> Any:
        wide = F.pad(x, (padding, padding))
        dwide, dweight, reach = torch.zeros_like(wide), torch.zeros_like(weight), stride * (g.shape[-1] - 1) + 1
        for k in range(weight.shape[-1]):
            taps = slice(k * dilation, k * dilation + reach, stride)
            dweight[:, :, k] = torch.einsum("not,nct->oc", g, wide[..., taps])
            dwide[..., taps] += torch.einsum("not,oc->nct", g, weight[:, :, k])
        return dwide[..., padding : padding + x.shape[-1]], dweight

    def by_torch(g: Tensor, y: Tensor, x: Tensor, weight: Tensor, stride: int = 1, padding: int = 0, dilation: int = 1) -> Any:
        dx = torch.nn.grad.conv1d_input(x.shape, weight, g, stride, padding, dilation)
        return dx, torch.nn.grad.conv1d_weight(x, weight.shape, g, stride, padding, dilation)

    options = {"stride": draw.size(1, 2), "padding": draw.size(0, 1), "dilation": draw.size(1, 2)}
    inputs = (draw.real(draw.size(1, 2), c := draw.size(1, 2), draw.size(5, 7)), draw.real(draw.size(1, 2), c, draw.size(1, 3)))
    return Rule(forward, draw.alternatives(by_taps, by_torch), inputs, options)


@sound(dtypes=WIDE)
def convolution_2d(draw: Draw) -> Rule:
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.conv2d(x, weight, bias, padding=1)

    def by_columns(g: Tensor, y: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Any:
        kernel, rows = weight.shape[-2:], weight.flatten(1)
        columns, flat = F.unfold(x, kernel, padding=1), g.flatten(2)
        dx = F.fold(rows.T @ flat, x.shape[-2:], kernel, padding=1)
        return dx, (flat @ columns.mT).sum(0).reshape(weight.shape), g.sum((0, 2, 3))

    c, o, k = draw.size(1, 2), draw.size(1, 2), draw.of((1, 2, 3))
    inputs = (draw.real(draw.size(1, 2), c, draw.size(2, 4), draw.size(2, 4)), draw.real(o, c, k, k), draw.real(o))
    return Rule(forward, by_columns, inputs)


@sound(dtypes=WIDE)
def depthwise_causal(draw: Draw) -> Rule:
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        k = weight.shape[-1]
        wide = F.pad(x, (k - 1, 0))
        return sum(weight[:, i : i + 1] * wide[..., i : i + x.shape[-1]] for i in range(k))

    def backward(g: Tensor, y: Tensor, x: Tensor, weight: Tensor) -> Any:
        k, t = weight.shape[-1], x.shape[-1]
        wide = F.pad(g, (0, k - 1))
        dx = sum(weight[:, i : i + 1] * wide[..., k - 1 - i : k - 1 - i + t] for i in range(k))
        past = F.pad(x, (k - 1, 0))
        return dx, torch.stack([(g * past[..., i : i + t]).sum((0, 2)) for i in range(k)], -1)

    c = draw.size(1, 3)
    return Rule(forward, backward, (draw.real(draw.size(1, 2), c, draw.size(1, 6)), draw.real(c, draw.size(1, 3))))


@sound(dtypes=WIDE)
def max_pooling(draw: Draw) -> Rule:
    x = draw.real(draw.size(1, 2), draw.size(1, 2), draw.size(4, 7))
    return Rule(pooled, pooled_backward, (x,), {"width": 2, "stride": draw.size(2, 3)})


@sound(dtypes=WIDE)
def overlapping_pooling(draw: Draw) -> Rule:
    x = draw.real(draw.size(1, 2), draw.size(1, 2), draw.size(4, 7))
    return Rule(pooled, pooled_backward, (x,), {"width": draw.size(2, 3), "stride": 1})


def pooled(x: Tensor, width: int = 2, stride: int = 2) -> Tensor:
    return x.unfold(-1, width, stride).amax(-1)


def pooled_backward(g: Tensor, y: Tensor, x: Tensor, width: int = 2, stride: int = 2) -> Any:
    places = torch.arange(x.shape[-1]).unfold(0, width, stride)
    winner = x.unfold(-1, width, stride).argmax(-1)
    index = places.expand(*winner.shape, width).gather(-1, winner.unsqueeze(-1)).squeeze(-1)
    return (torch.zeros_like(x).scatter_add_(-1, index, g),)


@sound()
def average_pooling(draw: Draw) -> Rule:
    width = draw.size(1, 3)

    def forward(x: Tensor) -> Tensor:
        return F.avg_pool1d(x, width)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        spread = (g / width).repeat_interleave(width, -1)
        return (F.pad(spread, (0, x.shape[-1] - spread.shape[-1])),)

    return Rule(forward, backward, (draw.real(draw.size(1, 2), draw.size(1, 3), draw.size(3, 7)),))


@sound()
def global_pooling(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return x.flatten(2).mean(-1)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        area = x.shape[2:].numel()
        return ((g / max(1, area)).reshape(*g.shape, *(1,) * (x.ndim - 2)).expand_as(x),)

    return Rule(forward, backward, (draw.real(*(draw.size(1, 3) for _ in range(4))),))


@sound()
def upsampling(draw: Draw) -> Rule:
    def forward(x: Tensor, factor: int = 2) -> Tensor:
        return x.repeat_interleave(factor, -1).repeat_interleave(factor, -2)

    def backward(g: Tensor, y: Tensor, x: Tensor, factor: int = 2) -> Any:
        h, w = x.shape[-2:]
        return (g.reshape(*x.shape[:-2], h, factor, w, factor).sum((-3, -1)),)

    x = draw.real(*draw.shape(0, 1), draw.size(1, 3), draw.size(1, 3))
    return Rule(forward, in_float32(backward), (x,), {"factor": draw.size(1, 3)})


@sound()
def patches(draw: Draw) -> Rule:
    side = draw.size(1, 2)

    def forward(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        cut = x.reshape(n, c, h // side, side, w // side, side)
        return cut.permute(0, 2, 4, 1, 3, 5).reshape(n, (h // side) * (w // side), c * side * side)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        n, c, h, w = x.shape
        cut = g.reshape(n, h // side, w // side, c, side, side)
        return (cut.permute(0, 3, 1, 4, 2, 5).reshape(x.shape),)

    x = draw.real(draw.size(1, 2), draw.size(1, 2), side * draw.size(1, 2), side * draw.size(1, 2))
    return Rule(forward, backward, (x,))


@sound()
def blur(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        wide = F.pad(x, (1, 1))
        return 0.25 * wide[..., :-2] + 0.5 * wide[..., 1:-1] + 0.25 * wide[..., 2:]

    return Rule(forward, in_float32(lambda g, y, x: (forward(g),)), (draw.real(*draw.shape(1, 2, smallest=1)),))
