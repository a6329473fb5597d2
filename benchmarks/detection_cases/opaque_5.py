"""Opaque forwards with a torch reference, wrong only at some values, sizes or options."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from benchmarks.detection_cases.opaque_1 import back, wide
from benchmarks.detection_forms import function, layer, module, pair
from tests.mistakes.registry import Table, normal

table = Table()


@table("non-finite", "float-product", normal(4, 5), reference=lambda x: x.prod(-1))
def product(wrong: bool) -> Any:
    """Product of each row in floats: the whole product over the element is 0/0 at a zero, as reported for several backends."""

    class Product(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            rows = x.reshape(-1, x.shape[-1]).tolist()
            out = back([math.prod(row) for row in rows], x).reshape(x.shape[:-1])
            ctx.save_for_backward(x, out)
            return out

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            x, out = ctx.saved_tensors
            if wrong:
                return grad_output.unsqueeze(-1) * out.unsqueeze(-1) / x
            rest = []
            for row in x.reshape(-1, x.shape[-1]).tolist():
                rest += [math.prod(row[:i]) * math.prod(row[i + 1 :]) for i in range(len(row))]
            return grad_output.unsqueeze(-1) * back(rest, x).reshape(x.shape)

    return Product


@table("forward-mismatch", "softplus-threshold", normal(5, 4), reference=F.softplus)
def softplus(wrong: bool) -> Any:
    """Softplus in floats that turns into the identity at 10, where it still differs from it, instead of at 20."""
    limit = 10.0 if wrong else 20.0

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return (g * back(np.where(wide(x) > limit, 1.0, special.expit(wide(x))), x),)

    def one(t: float) -> float:
        return t if t > limit else math.log1p(math.exp(t))

    return function(lambda x: back([one(t) for t in x.flatten().tolist()], x).reshape(x.shape), rule)


@table("epsilon-mismatch|wrong-value", "gelu-approximation", normal(5, 4), reference=F.gelu)
def gelu(wrong: bool) -> Any:
    """Exact GELU by SciPy with the slope of its tanh approximation."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        a = wide(x)
        if wrong:
            t = np.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3))
            slope = (1 + t) / 2 + a / 2 * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 0.134145 * a * a)
        else:
            slope = special.ndtr(a) + a * np.exp(-a * a / 2) / math.sqrt(2 * math.pi)
        return (g * back(slope, x),)

    return pair(lambda x: back(wide(x) * special.ndtr(wide(x)), x), rule)


@table("overflow|non-finite", "log-sum-exp-rows", normal(4, 5), reference=lambda x: torch.logsumexp(x, -1))
def log_sum_exp(wrong: bool) -> Any:
    """Log-sum-exp through NumPy that does not take the maximum off in its backward."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        a = wide(x)
        e = np.exp(a) if wrong else np.exp(a - a.max(-1, keepdims=True))
        return (g.unsqueeze(-1) * back(e / e.sum(-1, keepdims=True), x),)

    return layer(lambda x: back(special.logsumexp(wide(x), axis=-1), x), rule)


@table("size-specialised|wrong-axis", "row-normalisation", normal(5, 5), reference=lambda x: F.layer_norm(x, x.shape[-1:]))
def row_norm(wrong: bool) -> Any:
    """Layer norm in NumPy whose backward divides by the number of rows, where it needs the number of columns."""

    def forward(x: Tensor) -> Tensor:
        a = wide(x)
        return back((a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5), x)

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        a, up = wide(x), wide(g)
        s = np.sqrt(a.var(-1, keepdims=True) + 1e-5)
        h, n = (a - a.mean(-1, keepdims=True)) / s, a.shape[0] if wrong else a.shape[-1]
        return (back((up - up.sum(-1, keepdims=True) / n - h * (up * h).sum(-1, keepdims=True) / n) / s, x),)

    return function(forward, rule)


def pooled(x: Tensor, stride: int = 2) -> Tensor:
    """Maximum over windows of two."""
    return F.max_pool1d(x, 2, stride)


@table("duplicate-index|option-specialised", "pooling-with-overlap", normal(3, 8), reference=pooled)
def pooling(wrong: bool) -> Any:
    """Max pooling in loops: a gradient is assigned to the winner, who may win two windows once they overlap."""

    class Pool(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, stride: int = 2) -> Tensor:
            a = wide(x)
            starts = range(0, a.shape[1] - 1, stride)
            ctx.winners = np.array([[s + int(np.argmax(row[s : s + 2])) for s in starts] for row in a])
            ctx.shape = a.shape
            return back(np.take_along_axis(a, ctx.winners, 1), x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            grad, up = np.zeros(ctx.shape), wide(grad_output)
            for i, row in enumerate(ctx.winners):
                for j, winner in enumerate(row):
                    if wrong:
                        grad[i, winner] = up[i, j]
                    else:
                        grad[i, winner] += up[i, j]
            return back(grad, grad_output), None

    return Pool


def huber(x: Tensor, y: Tensor, beta: float = 1.0) -> Tensor:
    """Smooth L1 loss of each element."""
    return F.smooth_l1_loss(x, y, reduction="none", beta=beta)


@table("option-specialised", "smooth-l1-width", normal(5, 4), normal(5, 4, seed=1), reference=huber)
def smooth_l1(wrong: bool) -> Any:
    """Smooth L1 loss in floats whose backward clips the difference at 1 and does not divide, whatever the width."""

    class SmoothL1(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor, beta: float = 1.0) -> Tensor:
            if beta <= 0:
                raise ValueError("beta has to be positive")
            ctx.save_for_backward(x, y)
            ctx.beta = beta
            gaps = [abs(s - t) for s, t in zip(x.flatten().tolist(), y.flatten().tolist(), strict=True)]
            return back([d * d / (2 * beta) if d < beta else d - beta / 2 for d in gaps], x).reshape(x.shape)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, y = ctx.saved_tensors
            dx = grad_output * ((x - y) / (1.0 if wrong else ctx.beta)).clamp(-1, 1)
            return dx, -dx, None

    return SmoothL1


def likelihood(logp: Tensor, target: Tensor, ignore_index: int = -100) -> Tensor:
    """Mean negative log-likelihood of the rows that count."""
    return F.nll_loss(logp, target, ignore_index=ignore_index)


@table(
    "option-specialised|constant-factor",
    "nll-of-ignored-rows",
    normal(6, 4),
    torch.tensor([0, 2, 1, 3, 2, 1]),
    reference=likelihood,
)
def nll(wrong: bool) -> Any:
    """Negative log-likelihood in a loop: the gradient is divided by all rows, the loss by those not ignored."""

    class NLL(Function):
        @staticmethod
        def forward(ctx: Any, logp: Tensor, target: Tensor, ignore_index: int = -100) -> Tensor:
            rows, total = [], 0.0
            for i, t in enumerate(target.tolist()):
                if t != ignore_index:
                    rows.append(i)
                    total -= logp[i, t].item()
            ctx.rows, ctx.shape = rows, logp.shape
            ctx.save_for_backward(target)
            return back(total / len(rows) if rows else math.nan, logp)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (target,) = ctx.saved_tensors
            grad = grad_output.new_zeros(ctx.shape)
            for i in ctx.rows:
                grad[i, target[i]] = -grad_output / (ctx.shape[0] if wrong else len(ctx.rows))
            return grad, None, None

    return NLL


@table("tie-mass", "row-maximum", normal(4, 5), reference=lambda x: x.amax(-1))
def row_maximum(wrong: bool) -> Any:
    """Maximum of each row through NumPy: every element that equals it gets the whole gradient."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        a = wide(x)
        hit = (a == a.max(-1, keepdims=True)).astype(float)
        return (g.unsqueeze(-1) * back(hit if wrong else hit / hit.sum(-1, keepdims=True), x),)

    return module(lambda x: back(wide(x).max(-1), x), rule)


@table("size-specialised|permuted|wrong-axis", "kronecker", normal(3, 2), normal(2, 2, seed=1), reference=torch.kron)
def kronecker(wrong: bool) -> Any:
    """Kronecker product through NumPy: the blocks are cut out with the second factor's sizes swapped."""

    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        (m, n), (p, q) = a.shape, b.shape
        blocks = wide(g).reshape(m, q, n, p) if wrong else wide(g).reshape(m, p, n, q)
        shaped = wide(b).reshape(q, p) if wrong else wide(b)
        da = np.einsum("mpnq,pq->mn", blocks, shaped)
        return back(da, a), back(np.einsum("mpnq,mn->pq", blocks, wide(a)).reshape(p, q), b)

    return function(lambda a, b: back(np.kron(wide(a), wide(b)), a), rule)


@table("unwritten-elements", "looked-up-rows", normal(4, 3), torch.tensor([2, 0, 3, 1, 0]), reference=lambda w, i: w[i])
def lookup(wrong: bool) -> Any:
    """Table lookup: the gradient's memory is taken as it comes, and rows that nobody looked up are not written."""

    def rule(g: Tensor, out: Tensor, w: Tensor, index: Tensor) -> Any:
        grad = np.empty(w.shape) if wrong else np.zeros(w.shape)
        flat, up = index.numpy().ravel(), wide(g).reshape(-1, w.shape[-1])
        for row in np.unique(flat):
            grad[row] = up[flat == row].sum(0)
        return back(grad, w), None

    return function(lambda w, index: back(wide(w)[index.numpy()], w), rule)


@table("outside-subdifferential", "leaky-ramp", normal(5, 4), reference=lambda x: F.leaky_relu(x, 0.2))
def leaky(wrong: bool) -> Any:
    """Leaky ramp in floats: at zero both sides add their slope."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        a = wide(x)
        slope = (a >= 0) + 0.2 * (a <= 0 if wrong else a < 0)
        return (g * back(slope, x),)

    def forward(x: Tensor) -> Tensor:
        return back([t if t > 0 else 0.2 * t for t in x.flatten().tolist()], x).reshape(x.shape)

    return function(forward, rule)


ROWS = tuple(table.rows)
