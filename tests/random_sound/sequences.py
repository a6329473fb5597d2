"""Sound backwards of recurrences and gates: time runs backwards in them."""

from typing import Any

import torch
from torch import Tensor

from tests.random_sound.draws import WIDE, Draw
from tests.random_sound.forms import Rule, sound


@sound(dtypes=WIDE)
def linear_recurrence(draw: Draw) -> Rule:
    def forward(x: Tensor, decay: Tensor) -> Tensor:
        states = [torch.zeros_like(x[0])]
        for row in x:
            states.append(decay * states[-1] + row)
        return torch.stack(states[1:])

    def backward(g: Tensor, y: Tensor, x: Tensor, decay: Tensor) -> Any:
        carried, ddecay, rows = torch.zeros_like(x[0]), torch.zeros_like(decay), []
        for t in reversed(range(x.shape[0])):
            carried = carried * decay + g[t]
            rows.append(carried)
            if t:
                ddecay = ddecay + carried * y[t - 1]
        return torch.stack(rows[::-1]), ddecay

    d = draw.size(1, 3)
    return Rule(forward, backward, (draw.real(draw.size(1, 3), d, kind="ordinary"), draw.probabilities(d) * 0.9))


@sound(dtypes=WIDE)
def moving_average(draw: Draw) -> Rule:
    def forward(x: Tensor, rate: float = 0.5) -> Tensor:
        powers = (1 - rate) ** torch.arange(x.shape[-1], dtype=x.dtype)
        lag = torch.arange(x.shape[-1])
        kernel = (powers[(lag.unsqueeze(1) - lag).clamp(min=0)] * rate).tril()
        return x @ kernel.T

    def backward(g: Tensor, y: Tensor, x: Tensor, rate: float = 0.5) -> Any:
        carried, columns = g.new_zeros(g.shape[:-1]), []
        for t in reversed(range(g.shape[-1])):
            carried = g[..., t] * rate + (1 - rate) * carried
            columns.append(carried)
        return (torch.stack(columns[::-1], -1) if columns else g.clone(),)

    return Rule(forward, backward, (draw.real(*draw.shape(0, 1), draw.size(1, 4)),), {"rate": draw.number(0.2, 0.9)})


@sound(dtypes=WIDE)
def recurrent_cell(draw: Draw) -> Rule:
    n, d, e = draw.size(1, 3), draw.size(1, 3), draw.size(1, 3)
    inputs = (draw.real(n, d), draw.real(n, e), draw.real(d, e), draw.real(e, e))
    return Rule(next_state, next_state_backward, inputs)


def next_state(x: Tensor, h: Tensor, W: Tensor, U: Tensor) -> Tensor:
    return torch.tanh(x @ W + h @ U)


def next_state_backward(g: Tensor, y: Tensor, x: Tensor, h: Tensor, W: Tensor, U: Tensor) -> Any:
    da = g * (1 - y * y)
    return da @ W.T, da @ U.T, x.T @ da, h.T @ da


@sound(dtypes=WIDE)
def gated_update(draw: Draw) -> Rule:
    def forward(h: Tensor, z: Tensor, c: Tensor) -> Tensor:
        gate = torch.sigmoid(z)
        return gate * h + (1 - gate) * torch.tanh(c)

    def backward(g: Tensor, y: Tensor, h: Tensor, z: Tensor, c: Tensor) -> Any:
        gate, candidate = torch.sigmoid(z), torch.tanh(c)
        dz = g * (h - candidate) * gate * torch.sigmoid(-z)
        return g * gate, dz, g * torch.sigmoid(-z) * (1 - candidate * candidate)

    shape = draw.shape(1, 2)
    return Rule(forward, backward, tuple(draw.real(*shape) for _ in range(3)))


@sound(dtypes=WIDE)
def lstm_cell(draw: Draw) -> Rule:
    def forward(i: Tensor, f: Tensor, o: Tensor, u: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        cell = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
        return torch.sigmoid(o) * torch.tanh(cell), cell

    def backward(gs: Any, outputs: Any, i: Tensor, f: Tensor, o: Tensor, u: Tensor, c: Tensor) -> Any:
        gh, gc = gs
        si, sf, so, tu, tc = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o), torch.tanh(u), torch.tanh(outputs[1])
        dcell = gc + gh * so * (1 - tc * tc)
        slope = [s * torch.sigmoid(-v) for s, v in ((si, i), (sf, f), (so, o))]
        return dcell * tu * slope[0], dcell * c * slope[1], gh * tc * slope[2], dcell * si * (1 - tu * tu), dcell * sf

    shape = draw.shape(1, 2, smallest=1)
    return Rule(forward, backward, tuple(draw.real(*shape) for _ in range(5)))


@sound(dtypes=WIDE)
def rotary(draw: Draw) -> Rule:
    def forward(x: Tensor, angle: Tensor) -> Tensor:
        a, b = x[..., 0], x[..., 1]
        c, s = torch.cos(angle), torch.sin(angle)
        return torch.stack((a * c - b * s, a * s + b * c), -1)

    def backward(g: Tensor, y: Tensor, x: Tensor, angle: Tensor) -> Any:
        c, s = torch.cos(angle), torch.sin(angle)
        ga, gb = g[..., 0], g[..., 1]
        dangle = gb * y[..., 0] - ga * y[..., 1]
        return torch.stack((ga * c + gb * s, gb * c - ga * s), -1), dangle

    shape = draw.shape(0, 2, smallest=1)
    return Rule(forward, backward, (draw.real(*shape, 2), draw.real(*shape, kind="ordinary")))
