"""Elementwise and special functions: wrong at values, kinks and ties that an ordinary call does not have."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

import gradcheck_lab as gl
from benchmarks.detection_forms import function, layer, module, pair
from tests.mistakes.registry import Table, normal, operator_name, positive

table = Table()


@table("non-finite", "cumulative-product-by-division", normal(3, 5))
def cumulative_product(wrong: bool) -> Any:
    """The gradient of cumprod is divided by the input, NaN at a zero, as reported for TensorFlow, PyTensor and burn."""

    class CumProd(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            out = torch.cumprod(x, dim=-1)
            ctx.save_for_backward(x, out)
            return out

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            x, out = ctx.saved_tensors
            if wrong:
                return torch.flip(torch.cumsum(torch.flip(dy * out, [-1]), -1), [-1]) / x
            before = torch.cat([torch.ones_like(x[..., :1]), out[..., :-1]], dim=-1)
            dx = torch.zeros_like(x)
            tail = torch.zeros_like(dy.sum(-1))
            for i in range(x.shape[-1] - 1, -1, -1):
                tail = dy[..., i] + (tail * x[..., i + 1] if i + 1 < x.shape[-1] else 0)
                dx[..., i] = before[..., i] * tail
            return dx

    return CumProd


@table("value-dependent", "product-with-a-zero", normal(4, 5))
def product(wrong: bool) -> Any:
    """A product's gradient is output over input with 0 put where the input is 0, so the one zero of a row gets none."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        g, out = g.unsqueeze(-1), out.unsqueeze(-1)
        if wrong:
            return (g * torch.where(x == 0, torch.zeros_like(x), out / x),)
        one = torch.ones_like(x[..., :1])
        left = torch.cat([one, x[..., :-1]], -1).cumprod(-1)
        right = torch.cat([x[..., 1:], one], -1).flip(-1).cumprod(-1).flip(-1)
        return (g * left * right,)

    return pair(lambda x: x.prod(-1), rule)


@table("overflow", "softplus-by-exponentials", normal(4, 6), options={"beta": 1.5})
def softplus(wrong: bool) -> Any:
    """The slope of softplus is spelt e/(1+e), which is inf/inf for large inputs, as reported for burn and tt-metal."""

    def forward(x: Tensor, beta: float = 1.0) -> Tensor:
        return torch.logaddexp(beta * x, torch.zeros_like(x)) / beta

    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        if not wrong:
            return grad * torch.sigmoid(ctx.beta * x), None
        z = torch.exp(ctx.beta * x)
        return grad * z / (1 + z), None

    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, ctx.beta = inputs
        ctx.save_for_backward(x)

    op = torch.library.custom_op(
        operator_name("softplus"), forward, mutates_args=(), schema="(Tensor x, float beta=1.0) -> Tensor"
    )
    op.register_fake(lambda x, beta=1.0: torch.empty_like(x))
    op.register_autograd(backward, setup_context=setup_context)
    return op


@table("non-finite", "exponent-of-a-zero-base", positive(4, 3), positive(4, 3, seed=1))
def power(wrong: bool) -> Any:
    """The gradient of the exponent takes the logarithm of a zero base, 0 times -inf, as reported for tfjs."""

    def power_backward(grad_output: Tensor, output: Tensor, base: Tensor, exponent: Tensor) -> Any:
        d_base = torch.where(exponent == 0, torch.zeros_like(output), exponent * base ** (exponent - 1))
        d_exponent = output * torch.log(base)
        if not wrong:
            d_exponent = torch.where((base == 0) & (exponent >= 0), torch.zeros_like(output), d_exponent)
        return (grad_output * d_base).sum_to_size(base.shape), (grad_output * d_exponent).sum_to_size(exponent.shape)

    return gl.Op(torch.pow, power_backward)


@table("outside-subdifferential", "two-strict-slopes", normal(5, 4))
def two_slopes(wrong: bool) -> Any:
    """Leaky ReLU's slopes are added from two strict masks: at exactly 0 neither counts, and the slope is 0."""

    class Leaky(torch.nn.Module):
        class Apply(Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
                ctx.save_for_backward(x)
                ctx.slope = slope
                return torch.where(x > 0, x, x * slope)

            @staticmethod
            def backward(ctx: Any, grad: Tensor) -> Any:
                (x,) = ctx.saved_tensors
                rest = x < 0 if wrong else x <= 0
                return grad * ((x > 0).to(grad.dtype) + ctx.slope * rest.to(grad.dtype)), None

        def forward(self, x: Tensor) -> Tensor:
            return self.Apply.apply(x, 0.2)

    return Leaky()


@table("outside-subdifferential", "both-segments-at-a-knot", normal(4, 5))
def knots(wrong: bool) -> Any:
    """A piecewise linear curve adds the slopes of both neighbours at a knot, for its masks hold both ends."""
    starts, ends, slopes = (-math.inf, -1.0, 0.0, 1.0), (-1.0, 0.0, 1.0, math.inf), (0.1, 0.5, 1.0, 0.3)

    def curve(x: Tensor) -> Tensor:
        out = slopes[0] * x
        for start, below, above in zip(starts[1:], slopes, slopes[1:], strict=False):
            out = out + (above - below) * torch.relu(x - start)
        return out

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        total = torch.zeros_like(x)
        for start, end, slope in zip(starts, ends, slopes, strict=True):
            held = (x >= start) & ((x <= end) if wrong else (x < end))
            total += slope * held.to(x.dtype)
        return (g * total,)

    return layer(curve, rule)


@table("tie-mass", "minimum-by-strict-masks", normal(4, 3), normal(4, 3, seed=1))
def minimum(wrong: bool) -> Any:
    """The minimum of two sends its gradient by a < b and b < a: where both are equal nobody gets any."""

    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        da = g * (a < b)
        db = g * (b < a) if wrong else g * (b <= a)
        return da.sum_to_size(a.shape), db.sum_to_size(b.shape)

    return pair(torch.minimum, rule)


@table("masked-branch", "guarded-quotient", normal(4, 3), normal(4, 3, seed=1))
def guarded_quotient(wrong: bool) -> Any:
    """A division that gives 0 for a zero divisor multiplies its backward's 1/b by the mask: 0 times inf."""

    def divide(a: Tensor, b: Tensor) -> Tensor:
        empty = b == 0
        return torch.where(empty, 0.0, a / torch.where(empty, torch.ones_like(b), b))

    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        keep = (b != 0).to(b.dtype)
        inverse = keep / b if wrong else keep / torch.where(b == 0, torch.ones_like(b), b)
        return (g * inverse).sum_to_size(a.shape), (-g * out * inverse).sum_to_size(b.shape)

    return function(divide, rule)


@table("masked-branch", "root-beyond-one", positive(4, 5) + 1.1)
def root_beyond_one(wrong: bool) -> Any:
    """The square root of x²-1 is cut to 0 below 1, and its slope is a product with the mask: NaN below 1."""

    def forward(x: Tensor) -> Tensor:
        inside = x > 1
        return torch.where(inside, torch.sqrt(torch.where(inside, x * x - 1, torch.ones_like(x))), torch.zeros_like(x))

    class Root:
        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return forward(x)

        def backward(self, dout: Tensor) -> Tensor:
            inside = self.x > 1
            if wrong:
                return dout * inside * self.x / torch.sqrt(self.x**2 - 1)
            square = torch.where(inside, self.x * self.x - 1, torch.ones_like(self.x))
            return torch.where(inside, dout * self.x * torch.rsqrt(square), torch.zeros_like(dout))

    return Root()


@table("value-dependent", "huber-without-absolute", normal(5, 4), normal(5, 4, seed=1), 4.0)
def huber(wrong: bool) -> Any:
    """The quadratic part of a Huber loss is kept for d < delta rather than |d| < delta: far misses below stay steep."""

    class Huber(Function):
        @staticmethod
        def forward(ctx: Any, prediction: Tensor, target: Tensor, delta: float) -> Tensor:
            d = prediction - target
            ctx.save_for_backward(d)
            ctx.delta, ctx.shapes = delta, (prediction.shape, target.shape)
            return torch.where(d.abs() < delta, 0.5 * d * d, delta * (d.abs() - 0.5 * delta))

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (d,) = ctx.saved_tensors
            near = d < ctx.delta if wrong else d.abs() < ctx.delta
            slope = grad_output * torch.where(near, d, ctx.delta * torch.sign(d))
            return slope.sum_to_size(ctx.shapes[0]), -slope.sum_to_size(ctx.shapes[1]), None

    return Huber


@table("value-dependent", "truncated-quotient", positive(4, 3) + 1, positive(4, 3, seed=1))
def remainder(wrong: bool) -> Any:
    """The gradient of a remainder's divisor is the truncated quotient, the forward floors: wrong below zero."""

    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        whole = torch.div(a, b, rounding_mode="trunc" if wrong else "floor")
        return g.sum_to_size(a.shape), (-g * whole).sum_to_size(b.shape)

    return pair(torch.remainder, rule)


@table("overflow", "log-cosh", normal(5, 4))
def log_cosh(wrong: bool) -> Any:
    """The slope of log cosh is the quotient of exponentials, inf/inf from 710 on, though the forward is stable."""

    def forward(x: Tensor) -> Tensor:
        return x.abs() + torch.log1p(torch.exp(-2 * x.abs())) - math.log(2.0)

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        up, down = x.exp(), (-x).exp()
        return (g * ((up - down) / (up + down) if wrong else torch.tanh(x)),)

    return module(forward, rule)


@table("value-dependent", "hard-swish-one-sided", normal(4, 5))
def hard_swish(wrong: bool) -> Any:
    """Hard swish's slope is cut to 1 above 3, and the part below -3 is forgotten."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        slope = torch.where(x > 3, torch.ones_like(x), x / 3 + 0.5)
        if not wrong:
            slope = torch.where(x < -3, torch.zeros_like(x), slope)
        return (g * slope,)

    return function(F.hardswish, rule)


@table("non-finite", "angle-by-quotient", normal(4, 3), normal(4, 3, seed=1))
def angle(wrong: bool) -> Any:
    """The gradient of atan2 goes through y/x as atan's does, and is 0 times inf on the axis x = 0."""

    def rule(g: Tensor, out: Tensor, y: Tensor, x: Tensor) -> Any:
        if wrong:
            q = y / x
            s = g / (1 + q * q)
            return (s / x).sum_to_size(y.shape), (-s * q / x).sum_to_size(x.shape)
        r = torch.hypot(y, x)
        r = torch.where(r == 0, torch.ones_like(r), r)
        return (g * (x / r) / r).sum_to_size(y.shape), (-g * (y / r) / r).sum_to_size(x.shape)

    return pair(torch.atan2, rule)


ROWS = tuple(table.rows)
