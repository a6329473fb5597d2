"""Planted mistakes of formulas: signs, factors, transpositions, permutations, slots."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.library import custom_op
from torch.nn import functional as F

import gradcheck_lab as gl
from tests.mistakes.registry import Table, array, normal, operator_name, positive

# mypy: disable-error-code="override"

table = Table()
X, Y, X32 = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, dtype=torch.float32)
SQUARE = normal(4, 4)


@table("sign", "setup-context-log-sigmoid", X)
def log_sigmoid(wrong: bool) -> Any:
    class LogSigmoid(Function):
        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return F.logsigmoid(x)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (output,) = ctx.saved_tensors
            return grad_output * torch.expm1(output) * (1 if wrong else -1)

    return LogSigmoid


@table("sign", "pair-quotient", X, positive(4, 3, seed=1))
def quotient(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, a: Tensor, b: Tensor) -> Any:
        return g / b, (g if wrong else -g) * a / b**2

    return gl.Op(lambda a, b: a / b, backward, name="quotient")


@table("sign", "numpy-layer-squared-error", array(4, 3), array(4, 3, seed=1))
def squared_error(wrong: bool) -> Any:
    class MeanSquared:
        def forward(self, y: Any, t: Any) -> Any:
            self.difference = y - t
            return np.mean(self.difference**2)

        def backward(self, dout: Any = 1.0) -> Any:
            dy = 2 * dout * self.difference / self.difference.size
            return dy, dy * (1 if wrong else -1)

    return MeanSquared()


@table("constant-factor", "function-attention-scale", normal(5, 3), normal(7, 3, seed=1))
def attention_scores(wrong: bool) -> Any:
    class Scores(Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor) -> Tensor:
            ctx.save_for_backward(q, k)
            return q @ k.mT / q.shape[-1] ** 0.5

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            q, k = ctx.saved_tensors
            scale = 1 if wrong else q.shape[-1] ** -0.5
            return grad_output @ k * scale, grad_output.mT @ q * scale

    return Scores


@table("constant-factor", "custom-op-variance", normal(4, 5))
def variance(wrong: bool) -> Any:
    @custom_op(operator_name("variance"), mutates_args=())
    def op(x: Tensor) -> Tensor:
        return x.var(-1)

    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        n = x.shape[-1] - (0 if wrong else 1)
        return 2 * grad_output.unsqueeze(-1) * (x - x.mean(-1, keepdim=True)) / n

    op.register_fake(lambda x: x.new_empty(x.shape[:-1]))
    op.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]))
    return op


@table("constant-factor", "function-ignored-targets", normal(6, 4), torch.tensor([0, 2, -100, 3, -100, 1]))
def ignored_targets(wrong: bool) -> Any:
    class CrossEntropy(Function):
        @staticmethod
        def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
            ctx.save_for_backward(logits, target)
            return F.cross_entropy(logits, target)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            logits, target = ctx.saved_tensors
            valid = target != -100
            grad = logits.softmax(-1)
            grad[torch.arange(len(target)), target.clamp(min=0)] -= 1
            grad[~valid] = 0
            return grad_output * grad / (len(target) if wrong else valid.sum()), None

    return CrossEntropy


@table("constant-factor", "module-dropout-scale", normal(6, 5))
def dropout_scale(wrong: bool) -> Any:
    class Drop(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
            mask = torch.rand_like(x) > p
            ctx.save_for_backward(mask)
            ctx.p = p
            return x * mask / (1 - p)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (mask,) = ctx.saved_tensors
            return grad_output * mask / (1 if wrong else 1 - ctx.p), None

    class Dropout(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return Drop.apply(x, 0.2) if self.training else x

    return Dropout()


@table("transposed", "function-linear", normal(5, 4), SQUARE)
def linear(wrong: bool) -> Any:
    class Linear(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(x, weight)
            return x @ weight.t()

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            grad_weight = x.t() @ grad_output if wrong else grad_output.t() @ x
            return grad_output @ weight, grad_weight

    return Linear


@table("transposed", "numpy-layer-dense", array(5, 3))
def dense(wrong: bool) -> Any:
    class Dense:
        def __init__(self) -> None:
            self.W = array(3, 4, seed=3)
            self.dW: Any = None

        def forward(self, x: Any) -> Any:
            self.x = x
            return x @ self.W

        def backward(self, dout: Any) -> Any:
            self.dW = self.x.T @ dout
            return dout @ self.W.T

    class Transposed(Dense):
        def backward(self, dout: Any) -> Any:
            dx = super().backward(dout)
            self.dW = dout.T @ self.x
            return dx

    return Transposed() if wrong else Dense()


@table("transposed", "pair-gram", normal(4, 3))
def outer(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor) -> Any:
        return (g if wrong else g.mT) * 2.0

    return gl.Op(lambda x: 2 * x.mT, backward, name="twice_transposed")


@table("permuted", "function-roll", normal(4, 5))
def roll(wrong: bool) -> Any:
    class Shift(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, shift: int = 1) -> Tensor:
            ctx.shift = shift
            return x.roll(shift, -1)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            return grad_output.roll(ctx.shift if wrong else -ctx.shift, -1), None

    return Shift


@table("permuted", "pair-reversed-sum", normal(4, 5))
def reversed_sum(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor) -> Any:
        summed = g.flip(-1).cumsum(-1)
        return (summed if wrong else summed.flip(-1),)

    return lambda x: x.cumsum(-1), backward


@table("permuted", "layer-sorted", normal(4, 7))
def sort(wrong: bool) -> Any:
    class Sort:
        def forward(self, x: Tensor) -> Tensor:
            values, self.order = x.sort(-1)
            return values

        def backward(self, dout: Tensor) -> Tensor:
            # the inverse of a permutation is its argsort
            return dout.gather(-1, self.order if wrong else self.order.argsort(-1))

    return Sort()


@table("slots-swapped", "function-maximum", X, Y)
def maximum(wrong: bool) -> Any:
    class Maximum(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
            ctx.save_for_backward(a >= b)
            return torch.maximum(a, b)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (first,) = ctx.saved_tensors
            grads = grad_output * first, grad_output * ~first
            return grads[::-1] if wrong else grads

    return Maximum


@table("slots-swapped", "layer-bilinear", normal(3, 3), normal(3, 3, seed=1))
def bilinear(wrong: bool) -> Any:
    class Bilinear:
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            self.a, self.b = a, b
            return a @ b

        def backward(self, dout: Tensor) -> Any:
            da, db = dout @ self.b.T, self.a.T @ dout
            return (db, da) if wrong else (da, db)

    return Bilinear()


@table("slots-swapped", "custom-op-where", X, Y, normal(4, 3, seed=2) > 0)
def select(wrong: bool) -> Any:
    @custom_op(operator_name("select"), mutates_args=())
    def op(a: Tensor, b: Tensor, take: Tensor) -> Tensor:
        return torch.where(take, a, b)

    def backward(ctx: Any, grad_output: Tensor) -> Any:
        (take,) = ctx.saved_tensors
        if wrong:
            take = ~take
        return grad_output.masked_fill(~take, 0), grad_output.masked_fill(take, 0), None

    op.register_fake(lambda a, b, take: torch.empty_like(a))
    op.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[2]))
    return op


@table("non-finite", "pair-length-in-units", normal(5, 3), positive(3, seed=1))
def length_in_units(wrong: bool) -> Any:
    def backward(g: Tensor, length: Tensor, x: Tensor, unit: Tensor) -> Any:
        over = length if wrong else torch.where(length == 0, torch.ones_like(length), length)
        du = (g / over).unsqueeze(-1) * x / unit
        return du / unit, (-du * x / unit**2).sum(0)

    return gl.Op(lambda x, unit: torch.linalg.vector_norm(x / unit, dim=-1), backward, name="length_in_units")


@table("forward-mismatch", "function-softplus-that-overflows", normal(3, 8), reference=F.softplus)
def softplus_that_overflows(wrong: bool) -> Any:
    class Softplus(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return torch.log1p(torch.exp(x)) if wrong else x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            return grad_output * torch.sigmoid(ctx.saved_tensors[0])

    return Softplus


def _log_of_a_sum(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


@table("forward-mismatch", "function-softplus-cut-too-early", normal(3, 8), reference=_log_of_a_sum)
def softplus_cut_too_early(wrong: bool) -> Any:
    class Softplus(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return F.softplus(x, threshold=10 if wrong else 20)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return grad_output * torch.sigmoid(x.clamp(max=40))

    return Softplus


ROWS = table.rows
