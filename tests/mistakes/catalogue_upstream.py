"""Planted mistakes in the use of the upstream."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.library import custom_op

import gradcheck_lab as gl
from tests.mistakes.registry import Table, normal, operator_name, whole

# mypy: disable-error-code="override"

table = Table()
X, Y, X32 = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, dtype=torch.float32)


@table("upstream-ignored", "function-mean-cross-entropy", normal(5, 4), whole(4, 5))
def cross_entropy(wrong: bool) -> Any:
    class CrossEntropy(Function):
        """The gradient is computed in forward, as fused losses do, and only has to be scaled in backward."""

        @staticmethod
        def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
            logp = torch.log_softmax(logits, -1)
            grad = logp.exp()
            grad[torch.arange(len(target)), target] -= 1
            ctx.save_for_backward(grad / len(target))
            return -logp[torch.arange(len(target)), target].mean()

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (grad,) = ctx.saved_tensors
            return grad if wrong else grad * grad_output, None

    return CrossEntropy


@table("upstream-ignored", "module-penalty", X)
def penalty(wrong: bool) -> Any:
    class Penalty(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
            ctx.save_for_backward(x)
            ctx.strength = strength
            return strength * x.abs().sum()

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return ctx.strength * x.sign() * (1 if wrong else grad_output), None

    class Regularised(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return x.square().sum() + Penalty.apply(x, 0.3)

    return Regularised()


@table("upstream-ignored", "custom-op-huber", X)
def huber(wrong: bool) -> Any:
    @custom_op(operator_name("huber"), mutates_args=())
    def op(x: Tensor) -> Tensor:
        return torch.where(x.abs() <= 1, x * x / 2, x.abs() - 0.5)

    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        grad = x.clamp(-1, 1)
        return grad if wrong else grad_output * grad

    op.register_fake(lambda x: torch.empty_like(x))
    op.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]))
    return op


@table("upstream-scalarized", "function-unreduced-cross-entropy", normal(5, 4), whole(4, 5))
def unreduced(wrong: bool) -> Any:
    class CrossEntropy(Function):
        @staticmethod
        def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
            logp = torch.log_softmax(logits, -1)
            ctx.save_for_backward(logp, target)
            return -logp.gather(-1, target.unsqueeze(-1)).squeeze(-1)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            logp, target = ctx.saved_tensors
            grad = logp.exp() - nn.functional.one_hot(target, logp.shape[-1])
            # written for a scalar loss, whose upstream is one number
            return grad * (grad_output.reshape(-1)[0] if wrong else grad_output.unsqueeze(-1)), None

    return CrossEntropy


@table("upstream-scalarized", "pair-divergence", normal(4, 3).softmax(-1), normal(4, 3, seed=1).softmax(-1))
def divergence(wrong: bool) -> Any:
    def forward(p: Tensor, q: Tensor) -> Tensor:
        return (p * (p / q).log()).sum(-1)

    def backward(g: Tensor, output: Tensor, p: Tensor, q: Tensor) -> Any:
        scale = g.mean() if wrong else g.unsqueeze(-1)
        return scale * ((p / q).log() + 1), -scale * p / q

    return gl.Op(forward, backward, name="divergence")


@table("upstream-scalarized", "custom-op-squared-norm", X)
def squared_norm(wrong: bool) -> Any:
    @custom_op(operator_name("squared_norm"), mutates_args=())
    def op(x: Tensor) -> Tensor:
        return x.square().sum(-1)

    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * (grad_output.sum() if wrong else grad_output[..., None])

    op.register_fake(lambda x: x.new_empty(x.shape[:-1]))
    op.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]))
    return op


@table("not-linear", "function-clipped", X)
def clipped(wrong: bool) -> Any:
    class Exp(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x.exp())
            return x.exp()

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (y,) = ctx.saved_tensors
            return (grad_output * y).clamp(-5, 5) if wrong else grad_output * y

    return Exp


@table("not-linear", "module-weight-decay", X)
def weight_decay(wrong: bool) -> Any:
    class Linear(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(x, weight)
            return x @ weight

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            grad_weight = x.T @ grad_output
            return grad_output @ weight.T, grad_weight + 1e-4 * weight if wrong else grad_weight

    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(normal(3, 2, seed=4))

        def forward(self, x: Tensor) -> Any:
            return Linear.apply(x, self.weight)

    return Dense()


@table("output-gradient-dropped", "function-log-sum-exp-of-attention", normal(4, 3), normal(5, 3, seed=1), normal(5, 2, seed=2))
def attention(wrong: bool) -> Any:
    class Attention(Function):
        """Returns the logsumexp beside the output, as kernels do; the loss may use both."""

        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Any:
            scores = q @ k.T / q.shape[-1] ** 0.5
            lse = scores.logsumexp(-1)
            p = (scores - lse.unsqueeze(-1)).exp()
            ctx.save_for_backward(q, k, v, p)
            return p @ v, lse

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor, grad_lse: Tensor) -> Any:
            q, k, v, p = ctx.saved_tensors
            dp = grad_output @ v.T
            delta = (p * dp).sum(-1, keepdim=True)
            ds = p * (dp - delta + (0 if wrong else grad_lse.unsqueeze(-1))) / q.shape[-1] ** 0.5
            return ds @ k, ds.T @ q, p.T @ grad_output

    return Attention


@table("output-gradient-dropped", "pair-polar", X, Y)
def polar(wrong: bool) -> Any:
    def backward(g: Any, output: Any, x: Tensor, y: Tensor) -> Any:
        (dr, dt), (r, _) = g, output
        if wrong:
            dt = torch.zeros_like(dt)
        return dr * x / r - dt * y / r**2, dr * y / r + dt * x / r**2

    return gl.Op(lambda x, y: (torch.hypot(x, y), torch.atan2(y, x)), backward, name="polar")


ROWS = table.rows
