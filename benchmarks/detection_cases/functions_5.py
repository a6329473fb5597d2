"""Shared operands, broadcasting, several outputs and permutations that are wrong, and sound twins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from benchmarks.detection_forms import function, layer, module, operator, pair
from tests.mistakes.registry import Table, array, normal, positive, whole

table = Table()


@table("aliased-inputs", "gradients-kept-by-address", normal(4, 3), normal(4, 3, seed=1))
def kept_by_address(wrong: bool) -> Any:
    """Gradients are collected in a dict by the tensor's address, so one tensor in both slots keeps the last only."""

    class Interaction(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
            ctx.save_for_backward(a, b)
            return a * torch.sin(b)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            a, b = ctx.saved_tensors
            found = ((a, (g * torch.sin(b)).sum_to_size(a.shape)), (b, (g * a * torch.cos(b)).sum_to_size(b.shape)))
            if not wrong:
                return tuple(d for _, d in found)
            grads = {t.data_ptr(): d for t, d in found}
            return grads[a.data_ptr()], grads[b.data_ptr()]

    return Interaction


class Value:
    """A number of a small graph, as in micrograd."""

    def __init__(self, data: float, children: Any = ()) -> None:
        self.data, self.grad = data, 0.0
        self._backward, self._prev = lambda: None, set(children)

    def __add__(self, other: Any) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data + other.data, (self, other))

        def _backward() -> None:
            self.grad += out.grad
            other.grad += out.grad

        out._backward = _backward
        return out

    def __mul__(self, other: Any) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data * other.data, (self, other))

        def _backward() -> None:
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out._backward = _backward
        return out

    def backward(self) -> None:
        order, seen = [], set()

        def visit(node: Value) -> None:
            if node not in seen:
                seen.add(node)
                for child in node._prev:
                    visit(child)
                order.append(node)

        visit(self)
        self.grad = 1.0
        for node in reversed(order):
            node._backward()


@table("aliased-inputs|fan-out-overwritten", "values-that-assign", Value(0.8), Value(-0.6))
def assigning(wrong: bool) -> Any:
    """A product with a squashed factor assigns its gradients: one value in both places keeps the last, as in micrograd."""

    def times_squashed(a: Value, b: Value) -> Value:
        t = math.tanh(b.data)
        out = Value(a.data * t, (a, b))

        def _backward() -> None:
            if wrong:
                a.grad = t * out.grad
                b.grad = a.data * (1 - t * t) * out.grad
            else:
                a.grad += t * out.grad
                b.grad += a.data * (1 - t * t) * out.grad

        out._backward = _backward
        return out

    return lambda a, b: times_squashed(a, b) * 2.0 + 1.0


@table("missing-broadcast-sum", "column-mask", normal(2, 4, 3), positive(2, 4, 1, seed=1))
def column_mask(wrong: bool) -> Any:
    """A learned mask of one column multiplies every feature, and its gradient has all of them, as in ttml."""

    def rule(g: Tensor, out: Tensor, h: Tensor, mask: Tensor) -> Any:
        dmask = g * h
        return (g * mask).sum_to_size(h.shape), dmask if wrong else dmask.sum_to_size(mask.shape)

    return pair(lambda h, mask: h * mask, rule)


@table("upstream-scalarized", "penalty-by-the-sum", normal(5, 3), positive(3, seed=1))
def penalty(wrong: bool) -> Any:
    """A penalty per sample goes back scaled by the sum of what comes from above."""

    def rule(g: Tensor, out: Tensor, x: Tensor, strength: Tensor) -> Any:
        each = g.sum() if wrong else g.unsqueeze(-1)
        dx, dstrength = each * strength * torch.tanh(x), each * log_cosh(x) * torch.ones_like(strength)
        return dx.sum_to_size(x.shape), dstrength.sum_to_size(strength.shape)

    def log_cosh(x: Tensor) -> Tensor:
        return torch.logaddexp(x, -x) - math.log(2.0)

    def forward(x: Tensor, strength: Tensor) -> Tensor:
        return (strength * log_cosh(x)).sum(-1)

    return function(forward, rule)


@table("overflow", "weights-without-the-shift", normal(4, 5), normal(4, 5, seed=1))
def weighted_average(wrong: bool) -> Any:
    """An average under softmax weights makes its weights again without subtracting the maximum."""

    def rule(g: Tensor, out: Tensor, scores: Tensor, values: Tensor) -> Any:
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True) if wrong else torch.softmax(scores, -1)
        g, out = g.unsqueeze(-1), out.unsqueeze(-1)
        return (g * weights * (values - out)).sum_to_size(scores.shape), (g * weights).sum_to_size(values.shape)

    return operator(lambda scores, values: (torch.softmax(scores, -1) * values).sum(-1), rule)


@table("not-linear", "decay-inside-the-gradient", array(5, 3))
def decayed(wrong: bool) -> Any:
    """A dense layer adds its weight decay to the weight's gradient, though its forward has no such term."""
    weight, bias = array(3, 4, seed=1), array(4, seed=2)

    class Dense:
        def __init__(self) -> None:
            self.W, self.b, self.reg = weight.copy(), bias.copy(), 1e-2
            self.dW = self.db = self.x = None

        def forward(self, x: Any) -> Any:
            self.x = x
            return x @ self.W + self.b

        def backward(self, dout: Any) -> Any:
            self.dW = self.x.T @ dout
            if wrong:
                self.dW += self.reg * self.W
            self.db = dout.sum(axis=0)
            return dout @ self.W.T

    return Dense()


@table("permuted|transposed", "heads-not-brought-back", normal(2, 4, 6), positive(6, seed=1))
def split_heads(wrong: bool) -> Any:
    """Features are split into heads, (batch, heads, steps, size), and go back by a reshape without the transposition."""

    def forward(x: Tensor, gain: Tensor) -> Tensor:
        b, t, d = x.shape
        return (x * gain).reshape(b, t, 2, d // 2).transpose(1, 2).contiguous()

    def rule(g: Tensor, out: Tensor, x: Tensor, gain: Tensor) -> Any:
        g = g.reshape(x.shape) if wrong else g.transpose(1, 2).reshape(x.shape)
        return g * gain, (g * x).sum_to_size(gain.shape)

    return layer(forward, rule)


@table("wrong-value", "rotation-not-turned-back", normal(4, 6), normal(4, 3, seed=1))
def rotary(wrong: bool) -> Any:
    """Rotary embedding turns its gradient the same way as its input, for the sine is not negated."""

    def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

    class Rotary(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, angle: Tensor) -> Tensor:
            out = turn(x, angle.cos(), angle.sin())
            ctx.save_for_backward(out, angle)
            ctx.shape = x.shape
            return out

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            out, angle = ctx.saved_tensors
            dx = turn(g, angle.cos(), angle.sin() if wrong else -angle.sin())
            (ga, gb), (a, b) = g.chunk(2, dim=-1), out.chunk(2, dim=-1)
            return dx.sum_to_size(ctx.shape), (gb * a - ga * b).sum_to_size(angle.shape)

    return Rotary


@table("zero-gradient", "slope-of-the-negative-part", normal(5, 4), positive(4, seed=1))
def prelu(wrong: bool) -> Any:
    """PReLU's slope gets its gradient from where the output is positive, which the slope has no part in."""

    def rule(g: Tensor, out: Tensor, x: Tensor, slope: Tensor) -> Any:
        dx = torch.where(x > 0, g, g * slope)
        part = torch.where(x > 0, torch.zeros_like(x), x)
        if wrong:
            part = part * (x > 0)
        return dx.sum_to_size(x.shape), (g * part).sum_to_size(slope.shape)

    return module(lambda x, slope: torch.where(x > 0, x, slope * x), rule)


@table("constant-factor", "variance-of-a-sample", normal(5, 7), "none")
def variance(wrong: bool) -> Any:
    """The variance divides by n-1 and its gradient by n."""

    class Variance(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, reduction: str) -> Tensor:
            ctx.save_for_backward(x)
            ctx.reduction = reduction
            v = x.var(dim=-1)
            return v.mean() if reduction == "mean" else v

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            if ctx.reduction == "mean":
                g = (g / max(x[..., 0].numel(), 1)).expand(x.shape[:-1])
            n = x.shape[-1]
            return 2 * g.unsqueeze(-1) * (x - x.mean(-1, keepdim=True)) / (n if wrong else n - 1), None

    return Variance


@table("duplicate-index", "rows-by-fancy-assignment", array(7, 3), whole(7, 4, 2).numpy())
def rows(wrong: bool) -> Any:
    """The gradient of looked-up rows is added by `dx[index] += dout`, which counts a repeated index once."""

    def take_forward(x: Any, index: Any) -> Any:
        return np.sin(x)[index], (x, index)

    def take_backward(dout: Any, cache: Any) -> Any:
        x, index = cache
        dx = np.zeros_like(x)
        if wrong:
            dx[index] += dout
        else:
            np.add.at(dx, index, dout)
        return dx * np.cos(x), None

    return take_forward, take_backward


ROWS = tuple(table.rows)
