"""Reductions, softmaxes and losses that are wrong, and sound twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from benchmarks.detection_forms import function, layer, operator, pair
from tests.mistakes.registry import Table, array, normal, operator_name, positive

table = Table()
LABELS = torch.tensor([2, 0, 1, 3, 1])
PROBABILITIES = torch.softmax(normal(5, 4), -1)


@table("tie-mass", "largest-by-threshold", normal(4, 6))
def largest(wrong: bool) -> Any:
    """The sum of the three largest goes back to whatever reaches the third: with ties to more than three."""

    class TopSum(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            values, index = x.topk(min(3, x.shape[-1]), dim=-1)
            ctx.save_for_backward(x, values, index)
            return values.sum(-1)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            x, values, index = ctx.saved_tensors
            g = g.unsqueeze(-1)
            if wrong:
                return g * (x >= values[..., -1:])
            return torch.zeros_like(x).scatter_(-1, index, g.expand_as(index))

    return TopSum


@table("tie-mass", "pooling-by-equality", array(2, 3, 4, 6))
def pooling(wrong: bool) -> Any:
    """Pooling by 2 × 2 gives every pixel that equals its window's maximum the whole gradient, as in CS231n's fast layer."""

    def max_pool_forward(x: Any) -> Any:
        n, c, h, w = x.shape
        windows = x.reshape(n, c, h // 2, 2, w // 2, 2)
        out = windows.max(axis=3).max(axis=4)
        return out, (x, windows, out)

    def max_pool_backward(dout: Any, cache: Any) -> Any:
        x, windows, out = cache
        mask = windows == out[:, :, :, np.newaxis, :, np.newaxis]
        dwindows = mask * dout[:, :, :, np.newaxis, :, np.newaxis]
        if not wrong:
            dwindows = dwindows / mask.sum(axis=(3, 5), keepdims=True)
        return dwindows.reshape(x.shape)

    return max_pool_forward, max_pool_backward


@table("missing-term", "log-softmax-of-columns", normal(5, 4))
def log_softmax(wrong: bool) -> Any:
    """The backward of a log-softmax over axis 0 passes the gradient on without softmax times its sum, as in mlpack."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        if wrong:
            return (g,)
        return (g - out.exp() * g.sum(0, keepdim=True),)

    return operator(lambda x: torch.log_softmax(x, 0), rule)


@table("missing-term|wrong-value", "softmax-by-its-diagonal", array(4, 5))
def softmax(wrong: bool) -> Any:
    """The softmax layer multiplies by s(1-s), the diagonal of its Jacobian, as reported for libnd4j."""

    class Softmax:
        def __init__(self) -> None:
            self.out: Any = None

        def forward(self, x: Any) -> Any:
            e = np.exp(x - x.max(axis=-1, keepdims=True))
            self.out = e / e.sum(axis=-1, keepdims=True)
            return self.out

        def backward(self, dout: Any) -> Any:
            dx = self.out * dout
            if wrong:
                return dx * (1 - self.out)
            return dx - self.out * dx.sum(axis=-1, keepdims=True)

    return Softmax()


@table("epsilon-mismatch", "shifted-logarithm", PROBABILITIES.float(), PROBABILITIES.flip(0).float())
def shifted_logarithm(wrong: bool) -> Any:
    """A cross-entropy takes log(p + 1e-7) and goes back through 1/p, which a saturated prediction blows up."""

    def forward(p: Tensor, t: Tensor) -> Tensor:
        return -(t * torch.log(p + 1e-7)).sum(-1)

    def rule(g: Tensor, out: Tensor, p: Tensor, t: Tensor) -> Any:
        g = g.unsqueeze(-1)
        dp = -t / p if wrong else -t / (p + 1e-7)
        return (g * dp).sum_to_size(p.shape), (-g * torch.log(p + 1e-7)).sum_to_size(t.shape)

    return pair(forward, rule)


@table("upstream-scalarized", "token-losses-scaled-by-the-first", normal(5, 4), LABELS)
def token_losses(wrong: bool) -> Any:
    """Per-token losses go back scaled by the first token's gradient, as in Liger's cross-entropy without reduction."""

    class TokenLoss(Function):
        @staticmethod
        def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
            logp = torch.log_softmax(logits, dim=-1)
            d = logp.exp()
            d.scatter_add_(-1, labels.unsqueeze(-1), torch.full_like(d[..., :1], -1.0))
            ctx.save_for_backward(d)
            return -logp.gather(-1, labels.unsqueeze(-1)).squeeze(-1)

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, g: Tensor) -> Any:
            (d,) = ctx.saved_tensors
            scale = g.reshape(-1)[0] if wrong else g.unsqueeze(-1)
            return d * scale, None

    return TokenLoss


@table("upstream-ignored", "gradient-made-in-the-forward", normal(5, 3), normal(4, 3, seed=1), LABELS)
def fused_linear_loss(wrong: bool) -> Any:
    """A fused linear loss returns the gradients that its forward has made, whatever comes from above."""

    class FusedLinearLoss(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
            logits = x @ weight.t()
            n = x.shape[0]
            with torch.no_grad():
                d = torch.softmax(logits, -1)
                d[torch.arange(n), labels] -= 1
                d /= max(n, 1)
                ctx.save_for_backward(d @ weight, d.t() @ x)
            return F.cross_entropy(logits, labels)

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            grad_x, grad_weight = ctx.saved_tensors
            if not wrong:
                grad_x, grad_weight = grad_x * grad_output, grad_weight * grad_output
            return grad_x, grad_weight, None

    return FusedLinearLoss


@table("constant-factor", "ignored-rows-counted", normal(5, 4), torch.tensor([2, -100, 1, 3, -100]))
def ignored_rows(wrong: bool) -> Any:
    """The mean loss over the rows that count goes back divided by all rows."""

    def forward(logits: Tensor, labels: Tensor) -> Tensor:
        keep = labels >= 0
        picked = torch.log_softmax(logits, -1).gather(1, labels.clamp(min=0)[:, None])[:, 0]
        return -torch.where(keep, picked, torch.zeros_like(picked)).sum() / keep.sum().clamp(min=1)

    def rule(g: Tensor, out: Tensor, logits: Tensor, labels: Tensor) -> Any:
        keep = labels >= 0
        p = torch.softmax(logits, -1)
        p = p - F.one_hot(labels.clamp(min=0), logits.shape[-1]).to(p.dtype)
        count = len(labels) if wrong else keep.sum().clamp(min=1)
        return torch.where(keep[:, None], g * p / count, torch.zeros_like(p)), None

    return function(forward, rule)


@table("wrong-operand", "log-probabilities-for-probabilities", normal(5, 4, seed=3), PROBABILITIES)
def soft_targets(wrong: bool) -> Any:
    """A loss against soft targets goes back as log p minus the target, for the variable holds log-probabilities."""

    class SoftTargetLoss:
        def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
            self.p = torch.log_softmax(scores, dim=1)
            self.mass = targets.sum(1, keepdim=True)
            self.targets = targets
            return -(targets * self.p).sum(1)

        def backward(self, dout: Tensor) -> Any:
            probabilities = self.p if wrong else self.p.exp()
            dscores = dout[:, None] * (self.mass * probabilities - self.targets)
            return dscores.sum_to_size(self.p.shape), (-dout[:, None] * self.p).sum_to_size(self.targets.shape)

    return SoftTargetLoss()


@table("missing-factor", "learned-temperature", normal(5, 4), positive(1, 4, seed=1) + 0.5)
def temperature(wrong: bool) -> Any:
    """Logits are divided by a learned temperature; the way back to them forgets the division."""

    def rule(g: Tensor, out: Tensor, logits: Tensor, t: Tensor) -> Any:
        dlogits = g if wrong else g / t
        return dlogits.sum_to_size(logits.shape), (-g * out / t).sum_to_size(t.shape)

    return pair(lambda logits, t: logits / t, rule)


@table("wrong-axis", "pooled-columns", normal(4, 4))
def pooled_columns(wrong: bool) -> Any:
    """A softmax over rows weighs with ⟨g, s⟩ of the columns, which a square input does not refuse."""

    def backward(ctx: Any, g: Tensor) -> Tensor:
        (s,) = ctx.saved_tensors
        return s * (g - (g * s).sum(dim=0 if wrong else 1, keepdim=True))

    op = torch.library.custom_op(
        operator_name("softmax_rows"), lambda x: torch.softmax(x, 1), mutates_args=(), schema="(Tensor x) -> Tensor"
    )
    op.register_fake(torch.empty_like)
    op.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(output))
    return op


@table("not-linear", "adder-with-clipped-gradient", normal(4, 3), normal(5, 3, seed=1))
def adder(wrong: bool) -> Any:
    """The adder layer's backward scales the weight's gradient to a fixed norm, as AdderNet's does."""

    def forward(x: Tensor, w: Tensor) -> Tensor:
        return -(x.unsqueeze(-2) - w).abs().sum(-1)

    def rule(g: Tensor, out: Tensor, x: Tensor, w: Tensor) -> Any:
        direction = torch.sign(x.unsqueeze(-2) - w) * g.unsqueeze(-1)
        dw = direction.sum_to_size(w.shape)
        if wrong:
            dw = dw / dw.norm().clamp(min=1e-12) * 0.2 * w.numel() ** 0.5
        return -direction.sum(-2).sum_to_size(x.shape), dw

    return function(forward, rule)


@table("zero-gradient", "smoothing-rate", normal(6, 3), torch.tensor(0.4, dtype=torch.float64))
def smoothing(wrong: bool) -> Any:
    """Exponential smoothing allocates the gradient of its rate, and the loop never adds to it."""

    def forward(x: Tensor, rate: Tensor) -> Tensor:
        state, states = torch.zeros_like(x[0]), []
        for row in x:
            state = state + rate * (row - state)
            states.append(state)
        return torch.stack(states)

    def rule(g: Tensor, out: Tensor, x: Tensor, rate: Tensor) -> Any:
        dx, drate = torch.zeros_like(x), torch.zeros_like(rate)
        dstate = torch.zeros_like(x[0])
        for t in reversed(range(len(x))):
            dstate = dstate + g[t]
            before = out[t - 1] if t else torch.zeros_like(out[0])
            dx[t] = rate * dstate
            if not wrong:
                drate = drate + (dstate * (x[t] - before)).sum_to_size(rate.shape)
            dstate = (1 - rate) * dstate
        return dx, drate

    return layer(forward, rule)


@table("missing-term|wrong-value", "divided-by-the-largest", positive(4, 5))
def divided_by_largest(wrong: bool) -> Any:
    """Rows are divided by their largest entry, and the way through that entry is left out."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        top, at = x.max(-1, keepdim=True)
        dx = g / top
        if not wrong:
            dx = dx.scatter_add(-1, at, -(g * out).sum(-1, keepdim=True) / top)
        return (dx,)

    return function(lambda x: x / x.max(-1, keepdim=True).values, rule)


ROWS = tuple(table.rows)
