"""Sound backwards of elementwise functions of several tensors, each gradient summed to the shape of its operand."""

from typing import Any

import torch
from torch import Tensor

from tests.random_sound.draws import WIDE, Draw
from tests.random_sound.forms import Rule, in_float32, sound, sum_to


@sound()
def product_of_three(draw: Draw) -> Rule:
    def forward(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return a * x + b

    def backward(g: Tensor, y: Tensor, x: Tensor, a: Tensor, b: Tensor) -> Any:
        return sum_to(g * a, x.shape), sum_to(x * g, a.shape), sum_to(g, b.shape)

    shape = draw.shape(1)
    operands = [draw.real(*draw.broadcast(shape)) for _ in range(2)]
    return Rule(forward, draw.alternatives(backward, in_float32(backward)), (draw.real(*shape), *operands))


@sound()
def quotient(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a / b

    def by_output(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        da = g / b
        return sum_to(da, a.shape), sum_to(-(da * y), b.shape)

    def by_inputs(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        inverse = 1 / b
        return sum_to(g * inverse, a.shape), sum_to(-g * a * inverse * inverse, b.shape)

    shape = draw.shape()
    inputs = (draw.real(*draw.broadcast(shape)), draw.positive(*draw.broadcast(shape)))
    return Rule(forward, draw.alternatives(in_float32(by_output), by_output, in_float32(by_inputs)), inputs)


@sound()
def extremes(draw: Draw) -> Rule:
    larger = draw.of((True, False))

    def forward(a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a, b) if larger else torch.minimum(a, b)

    def first_wins(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        won = (a >= b) if larger else (a <= b)
        return sum_to(torch.where(won, g, 0), a.shape), sum_to(torch.where(won, 0, g), b.shape)

    def halves(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        share = torch.where(a == b, 0.5, ((a > b) if larger else (a < b)).double()).to(g.dtype)
        return sum_to(g * share, a.shape), sum_to(g * (1 - share), b.shape)

    shape = draw.shape()
    inputs = (draw.real(*draw.broadcast(shape)), draw.real(*draw.broadcast(shape)))
    return Rule(forward, draw.alternatives(first_wins, halves), inputs)


@sound()
def clamp_to_tensors(draw: Draw) -> Rule:
    def forward(x: Tensor, low: Tensor) -> Tensor:
        return torch.maximum(x, low)

    def backward(g: Tensor, y: Tensor, x: Tensor, low: Tensor) -> Any:
        inside = x > low
        return g * inside, sum_to(g * ~inside, low.shape)

    shape = draw.shape(1)
    return Rule(forward, backward, (draw.real(*shape), draw.real(shape[-1])))


@sound()
def where_mask(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, a, b)

    def backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor, mask: Tensor) -> Any:
        return sum_to(g * mask, a.shape), sum_to(g.masked_fill(mask, 0), b.shape), None

    shape = draw.shape()
    inputs = (draw.real(*draw.broadcast(shape)), draw.real(*draw.broadcast(shape)), draw.mask(*shape))
    return Rule(forward, backward, inputs)


@sound()
def masked_root(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        inside = x > 0.1
        return torch.where(inside, torch.sqrt(torch.where(inside, x, 1.0)), x)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (torch.where(x > 0.1, g * 0.5 / torch.where(x > 0.1, y, 1.0), g),)

    return Rule(forward, backward, (draw.real(*draw.shape()),))


@sound()
def interpolation(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        return a + t * (b - a)

    def backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor, t: Tensor) -> Any:
        db = g * t
        return g - db, db, sum_to(g * (b - a), t.shape)

    shape = draw.shape(1)
    return Rule(forward, in_float32(backward), (draw.real(*shape), draw.real(*shape), draw.real(*draw.broadcast(shape))))


@sound()
def log_add_exp(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return torch.logaddexp(a, b)

    def by_sigmoid(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        return sum_to(g * torch.sigmoid(a - b), a.shape), sum_to(g * torch.sigmoid(b - a), b.shape)

    def by_output(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        return sum_to(g * torch.exp(a - y), a.shape), sum_to(g * torch.exp(b - y), b.shape)

    shape = draw.shape()
    inputs = (draw.real(*draw.broadcast(shape)), draw.real(*draw.broadcast(shape)))
    return Rule(forward, draw.alternatives(in_float32(by_sigmoid), in_float32(by_output), by_sigmoid), inputs)


@sound(dtypes=WIDE)
def polar(draw: Draw) -> Rule:
    def forward(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return torch.hypot(x, y), torch.atan2(y, x)

    def backward(gs: Any, outputs: Any, x: Tensor, y: Tensor) -> Any:
        radius = outputs[0]
        apart = radius > 0
        safe = torch.where(apart, radius, 1.0)
        cosine, sine = x / safe, y / safe
        turned = torch.where(apart, gs[1] / safe, 0.0)
        return gs[0] * cosine - turned * sine, gs[0] * sine + turned * cosine

    shape = draw.shape(1)
    return Rule(forward, backward, (draw.real(*shape, kind="ordinary"), draw.positive(*shape)))


@sound()
def gated(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        return a * torch.sigmoid(b)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        a, b = x.chunk(2, -1)
        s = torch.sigmoid(b)
        return (torch.cat((g * s, g * a * s * (1 - s)), -1),)

    return Rule(forward, in_float32(backward), (draw.real(*draw.shape(0, 2), 2 * draw.size(1, 3)),))


@sound()
def sums_and_differences(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return a + b, a - b, a * b

    def backward(gs: Any, outputs: Any, a: Tensor, b: Tensor) -> Any:
        total, difference, product = gs
        da = total + difference + product * b
        db = (total - difference).add(product * a)
        return sum_to(da, a.shape), sum_to(db, b.shape)

    shape = draw.shape()
    inputs = (draw.real(*draw.broadcast(shape)), draw.real(*draw.broadcast(shape)))
    return Rule(forward, in_float32(backward), inputs)
