"""Sound backwards of reductions over random axes, with and without keepdim: sums, moments, norms, extremes, products."""

from typing import Any

import torch
from torch import Tensor

from tests.random_sound.draws import Draw
from tests.random_sound.forms import Rule, in_float32, sound


def restored(value: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """Put back the reduced axes, with size 1."""
    if not keepdim:
        for axis in sorted(axes):
            value = value.unsqueeze(axis)
    return value


@sound()
def total(draw: Draw) -> Rule:
    shape = draw.shape(1)
    axes, keepdim, mean = draw.axes(shape), draw.of((True, False)), draw.of((True, False))

    def forward(x: Tensor) -> Tensor:
        return x.mean(axes, keepdim) if mean else x.sum(axes, keepdim)

    def expanded(g: Tensor, y: Tensor, x: Tensor) -> Any:
        count = x.numel() // max(1, y.numel()) if mean else 1
        return (restored(g / max(1, count), axes, keepdim).expand(x.shape),)

    def by_ones(g: Tensor, y: Tensor, x: Tensor) -> Any:
        ones = torch.ones_like(x)
        return (ones * restored(g, axes, keepdim) / (ones.sum(axes, keepdim=True) if mean else 1),)

    return Rule(forward, draw.alternatives(expanded, by_ones), (draw.real(*shape),))


@sound()
def variance(draw: Draw) -> Rule:
    shape = draw.shape(1, 3, smallest=2)
    axes, keepdim, correction = draw.axes(shape), draw.of((True, False)), draw.of((0, 1))

    def forward(x: Tensor) -> Tensor:
        return x.var(axes, correction=correction, keepdim=keepdim)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        count = x.numel() // max(1, y.numel())
        centred = x - x.mean(axes, keepdim=True)
        return (restored(g, axes, keepdim) * centred * 2 / (count - correction),)

    return Rule(forward, in_float32(backward), (draw.real(*shape),))


@sound()
def deviation(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return x.std(-1, correction=0)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        centred = x - x.mean(-1, keepdim=True)
        spread = y.unsqueeze(-1) * x.shape[-1]
        return (torch.where(spread > 0, g.unsqueeze(-1) * centred / spread, 0.0),)

    shape = (*draw.shape(0, 2, smallest=1), draw.size(2, 5))
    return Rule(forward, in_float32(backward), (draw.real(*shape, kind=draw.of(("ordinary", "large"))),))


@sound()
def log_sum_exp(draw: Draw) -> Rule:
    shape = draw.shape(1, 3, smallest=1)
    axis, keepdim = draw.axis(shape), draw.of((True, False))

    def forward(x: Tensor) -> Tensor:
        return x.logsumexp(axis, keepdim)

    def by_softmax(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return ((g if keepdim else g.unsqueeze(axis)) * x.softmax(axis),)

    def by_output(g: Tensor, y: Tensor, x: Tensor) -> Any:
        if not keepdim:
            g, y = g.unsqueeze(axis), y.unsqueeze(axis)
        return (g * torch.exp(x - y),)

    return Rule(forward, draw.alternatives(by_softmax, by_output), (draw.real(*shape),))


@sound()
def euclidean_norm(draw: Draw) -> Rule:
    shape = draw.shape(1)
    axis = draw.axis(shape)

    def forward(x: Tensor) -> Tensor:
        return x.norm(dim=axis)

    def guarded(g: Tensor, y: Tensor, x: Tensor) -> Any:
        n = y.unsqueeze(axis)
        return (torch.where(n == 0, 0, g.unsqueeze(axis) * (x / torch.where(n == 0, 1, n))),)

    def filled(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return ((x * (g / y).unsqueeze(axis)).masked_fill(y.unsqueeze(axis) == 0, 0),)

    return Rule(forward, draw.alternatives(in_float32(guarded), in_float32(filled)), (draw.real(*shape),))


@sound()
def manhattan_norm(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return x.abs().sum(-1)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (x.sign() * g.unsqueeze(-1),)

    return Rule(forward, backward, (draw.real(*draw.shape(1)),))


@sound()
def largest_shared(draw: Draw) -> Rule:
    shape = draw.shape(1, 3, smallest=1)
    axis = draw.axis(shape)

    def forward(x: Tensor) -> Tensor:
        return x.amax(axis)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        hit = x == y.unsqueeze(axis)
        return (hit * (g.unsqueeze(axis) / hit.sum(axis, keepdim=True)),)

    return Rule(forward, backward, (draw.real(*shape),))


@sound()
def largest_winner(draw: Draw) -> Rule:
    shape = draw.shape(1, 3, smallest=1)
    axis = draw.axis(shape)

    def forward(x: Tensor) -> Tensor:
        return x.amax(axis)

    def first(g: Tensor, y: Tensor, x: Tensor) -> Any:
        index = x.argmax(axis, keepdim=True)
        return (torch.zeros_like(x).scatter(axis, index, g.unsqueeze(axis)),)

    def last(g: Tensor, y: Tensor, x: Tensor) -> Any:
        index = x.shape[axis] - 1 - x.flip(axis).argmax(axis, keepdim=True)
        return (torch.zeros_like(x).scatter(axis, index, g.unsqueeze(axis)),)

    return Rule(forward, draw.alternatives(first, last), (draw.real(*shape),))


@sound()
def smallest_and_place(draw: Draw) -> Rule:
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        values, index = x.min(-1)
        return values, index

    def backward(gs: Any, outputs: Any, x: Tensor) -> Any:
        return (torch.zeros_like(x).scatter_(-1, outputs[1].unsqueeze(-1), gs[0].unsqueeze(-1)),)

    return Rule(forward, backward, (draw.real(*draw.shape(1, 3, smallest=1)),))


@sound()
def product(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return x.prod(-1)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        n = x.shape[-1]
        every = x.unsqueeze(-2).expand(*x.shape, n)
        others = every.masked_fill(torch.eye(n, dtype=torch.bool), 1).prod(-1)
        return (g.unsqueeze(-1) * others,)

    shape = (*draw.shape(0, 2), draw.size(1, 4))
    return Rule(forward, in_float32(backward), (draw.real(*shape, kind=draw.of(("ordinary", "some zeros", "tied"))),))


@sound()
def weighted_mean(draw: Draw) -> Rule:
    def forward(x: Tensor, w: Tensor) -> Tensor:
        return (x * w).sum(-1) / w.sum(-1)

    def backward(g: Tensor, y: Tensor, x: Tensor, w: Tensor) -> Any:
        share = (g / w.sum(-1)).unsqueeze(-1)
        return share * w, share * (x - y.unsqueeze(-1))

    shape = draw.shape(1, smallest=1)
    return Rule(forward, in_float32(backward), (draw.real(*shape, kind="ordinary"), draw.positive(*shape)))


@sound()
def middle(draw: Draw) -> Rule:
    return Rule(lower_median, lower_median_backward, (draw.real(*draw.shape(1, 3, smallest=1)),))


def lower_median(x: Tensor) -> Tensor:
    return x.sort(-1).values[..., (x.shape[-1] - 1) // 2]


def lower_median_backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
    index = x.argsort(dim=-1, stable=True)[..., (x.shape[-1] - 1) // 2]
    return (torch.zeros_like(x).scatter_(-1, index.unsqueeze(-1), g.unsqueeze(-1)),)
