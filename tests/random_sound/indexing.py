"""Sound backwards of what picks, scatters, orders, moves and accumulates."""

from typing import Any

import torch
from torch import Tensor

from tests.random_sound.draws import Draw
from tests.random_sound.forms import Rule, in_float32, sound


@sound()
def embedding(draw: Draw) -> Rule:
    def forward(weight: Tensor, index: Tensor) -> Tensor:
        return weight[index]

    def by_index_add(g: Tensor, y: Tensor, weight: Tensor, index: Tensor) -> Any:
        flat = g.reshape(index.numel(), weight.shape[-1])
        return torch.zeros_like(weight).index_add_(0, index.reshape(-1), flat), None

    def by_put(g: Tensor, y: Tensor, weight: Tensor, index: Tensor) -> Any:
        return torch.zeros_like(weight).index_put((index,), g, accumulate=True), None

    rows, width = draw.size(2, 5), draw.size(1, 4)
    index = draw.whole(rows, *draw.shape(1, 2))
    return Rule(forward, in_float32(draw.alternatives(by_index_add, by_put)), (draw.real(rows, width), index))


@sound()
def gather(draw: Draw) -> Rule:
    def forward(x: Tensor, index: Tensor) -> Tensor:
        return x.gather(-1, index)

    def by_scatter_add(g: Tensor, y: Tensor, x: Tensor, index: Tensor) -> Any:
        return torch.zeros_like(x).scatter_add_(-1, index, g), None

    def by_one_hot(g: Tensor, y: Tensor, x: Tensor, index: Tensor) -> Any:
        places = torch.arange(x.shape[-1])
        return ((index.unsqueeze(-1) == places) * g.unsqueeze(-1)).sum(-2), None

    n, c, k = draw.size(1, 4), draw.size(2, 5), draw.size(1, 4)
    rule = in_float32(draw.alternatives(by_scatter_add, by_one_hot))
    return Rule(forward, rule, (draw.real(n, c), draw.whole(c, n, k)))


@sound()
def scatter_add(draw: Draw) -> Rule:
    def forward(x: Tensor, index: Tensor, source: Tensor) -> Tensor:
        return x.index_add(0, index, source)

    def backward(g: Tensor, y: Tensor, x: Tensor, index: Tensor, source: Tensor) -> Any:
        return g, None, g.index_select(0, index)

    rows, width, count = draw.size(2, 5), draw.size(1, 3), draw.size(1, 5)
    return Rule(forward, backward, (draw.real(rows, width), draw.whole(rows, count), draw.real(count, width)))


@sound()
def segment_sum(draw: Draw) -> Rule:
    segments = draw.size(2, 4)

    def forward(x: Tensor, segment: Tensor) -> Tensor:
        return x.new_zeros(segments, x.shape[-1]).index_add(0, segment, x)

    def backward(g: Tensor, y: Tensor, x: Tensor, segment: Tensor) -> Any:
        return g[segment], None

    n = draw.size(1, 5)
    return Rule(forward, backward, (draw.real(n, draw.size(1, 3)), draw.whole(segments, n)))


@sound()
def sort(draw: Draw) -> Rule:
    descending = draw.of((True, False))

    stable = draw.of((True, False))

    def forward(x: Tensor) -> Tensor:
        return x.sort(dim=-1, descending=descending).values

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        order = x.argsort(dim=-1, descending=descending, stable=stable)
        return (g.gather(-1, order.argsort(-1)),)

    return Rule(forward, backward, (draw.real(*draw.shape(1)),))


@sound()
def top_k(draw: Draw) -> Rule:
    width = draw.size(2, 5)
    k = draw.size(1, width)

    def forward(x: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        values, index = x.topk(k, -1)
        return values, index

    def backward(gs: Any, outputs: Any, x: Tensor, k: int = 1) -> Any:
        return (torch.zeros_like(x).scatter(-1, outputs[1], gs[0]),)

    return Rule(forward, backward, (draw.real(*draw.shape(0, 2), width),), {"k": k})


@sound()
def moved(draw: Draw) -> Rule:
    shape = draw.shape(1)
    axis, amount, kind = draw.axis(shape), draw.size(0, 3), draw.of(("roll", "flip", "swap"))

    def forward(x: Tensor) -> Tensor:
        return {"roll": lambda: x.roll(amount, axis), "flip": lambda: x.flip(axis), "swap": lambda: x.transpose(0, axis)}[
            kind
        ]()

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        if kind == "roll":
            return (g.roll(-amount, axis),)
        return (g.flip(axis) if kind == "flip" else g.transpose(axis, 0).contiguous(),)

    return Rule(forward, backward, (draw.real(*shape),))


@sound()
def padded(draw: Draw) -> Rule:
    def forward(x: Tensor, before: int = 1, after: int = 1) -> Tensor:
        return torch.nn.functional.pad(x, (before, after), value=0.5)

    def backward(g: Tensor, y: Tensor, x: Tensor, before: int = 1, after: int = 1) -> Any:
        return (g.narrow(-1, before, x.shape[-1]),)

    options = {"before": draw.size(0, 3), "after": draw.size(0, 3)}
    return Rule(forward, backward, (draw.real(*draw.shape(1, smallest=1)),), options)


@sound()
def circular_windows(draw: Draw) -> Rule:
    def forward(x: Tensor, width: int = 2) -> Tensor:
        return torch.stack([x.roll(-k, -1) for k in range(width)], -1)

    def backward(g: Tensor, y: Tensor, x: Tensor, width: int = 2) -> Any:
        grad = torch.zeros_like(x)
        for k in range(width):
            grad = grad + g[..., k].roll(k, -1)
        return (grad,)

    return Rule(forward, backward, (draw.real(*draw.shape(1)),), {"width": draw.size(1, 3)})


@sound()
def joined(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return torch.cat((a, b, a), -1)

    def backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        n = a.shape[-1]
        return g[..., :n] + g[..., g.shape[-1] - n :], g[..., n : n + b.shape[-1]]

    shape = draw.shape(0, 2)
    return Rule(forward, backward, (draw.real(*shape, draw.size(1, 3)), draw.real(*shape, draw.size(1, 4))))


@sound()
def cumulative_sum(draw: Draw) -> Rule:
    shape = draw.shape(1)
    axis = draw.axis(shape)

    def forward(x: Tensor) -> Tensor:
        return x.cumsum(axis)

    def flipped(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g.flip(axis).cumsum(axis).flip(axis),)

    def by_total(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g.sum(axis, keepdim=True) - g.cumsum(axis) + g,)

    return Rule(forward, in_float32(draw.alternatives(flipped, by_total)), (draw.real(*shape),))


@sound()
def cumulative_maximum(draw: Draw) -> Rule:
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        values, index = x.cummax(-1)
        return values, index

    def backward(gs: Any, outputs: Any, x: Tensor) -> Any:
        return (torch.zeros_like(x).scatter_add_(-1, outputs[1], gs[0]),)

    return Rule(forward, in_float32(backward), (draw.real(*draw.shape(1, smallest=1)),))


@sound()
def cumulative_product(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return x.cumprod(-1)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        n, grad = x.shape[-1], torch.zeros_like(x)
        for i in range(n):
            before = x[..., :i].prod(-1)
            tail = torch.cat((torch.ones_like(x[..., :1]), x[..., i + 1 :]), -1).cumprod(-1)
            grad[..., i] = before * (tail * g[..., i:]).sum(-1)
        return (grad,)

    shape = (*draw.shape(0, 2), draw.size(1, 4))
    return Rule(forward, in_float32(backward), (draw.real(*shape, kind=draw.of(("ordinary", "some zeros", "tied"))),))
