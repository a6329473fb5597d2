"""Planted mistakes of chance and of modes: what is drawn again, and what is right in one mode only."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

import gradcheck_lab as gl
from tests.mistakes.registry import Table, normal

# mypy: disable-error-code="override"

table = Table()
X, Y = normal(4, 3), normal(4, 3, seed=1)


@table("nondeterministic", "function-race", normal(6, 5))
def race(wrong: bool) -> Any:
    generator = torch.Generator().manual_seed(0)

    class RowSquares(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor | None = None) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            grad = torch.zeros(x.shape, dtype=x.dtype)
            order = torch.randperm(x.numel(), generator=generator)
            grad.view(-1)[order] = (2 * grad_output * x).reshape(-1)[order]
            if wrong and x.numel() > 1:
                # one block's write is lost now and then
                grad.view(-1)[order[0]] = 0
            return grad, None

    return RowSquares


@table("random-replay", "module-dropout", normal(5, 6))
def dropout(wrong: bool) -> Any:
    class Drop(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
            ctx.seed, ctx.p = int(torch.randint(2**31, ())), p
            return x * Drop.mask(ctx, x)

        @staticmethod
        def mask(ctx: Any, x: Tensor) -> Tensor:
            generator = torch.Generator().manual_seed(ctx.seed)
            return (torch.rand(x.shape, generator=generator) >= ctx.p).to(x.dtype) / (1 - ctx.p)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            if wrong:
                return grad_output * (torch.rand(grad_output.shape) >= ctx.p).to(grad_output.dtype) / (1 - ctx.p), None
            return grad_output * Drop.mask(ctx, grad_output), None

    class Dropout(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return Drop.apply(x, 0.4) if self.training else x

    return Dropout()


@table("random-replay", "pair-noisy-gate", normal(5, 6))
def noisy_gate(wrong: bool) -> Any:
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.rand_like(x)
        return torch.sigmoid(x + noise), noise

    def backward(g: Any, output: Any, x: Tensor) -> Any:
        s = torch.sigmoid(x + torch.rand_like(x)) if wrong else output[0]
        return (g[0] * s * (1 - s),)

    return gl.Op(lambda x: forward(x), backward, name="noisy_gate")


class BatchNormFunction(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, var: Tensor, batch: bool, fixed: bool) -> Tensor:
        rstd = (var + 1e-5).rsqrt()
        unit = (x - mean) * rstd
        ctx.save_for_backward(unit, rstd)
        ctx.batch, ctx.fixed = batch, fixed
        return unit

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        unit, rstd = ctx.saved_tensors
        if ctx.batch and not ctx.fixed:
            grad_output = grad_output - grad_output.mean(0) - unit * (grad_output * unit).mean(0)
        return grad_output * rstd, None, None, None, None


@table("mode-mismatch", "module-batch-norm", normal(5, 3))
def batch_norm(wrong: bool) -> Any:
    class BatchNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(3, dtype=torch.float64))
            self.register_buffer("var", torch.ones(3, dtype=torch.float64))

        def forward(self, x: Tensor) -> Any:
            mean, var = (x.mean(0), x.var(0, correction=0)) if self.training else (self.mean, self.var)
            # the sound one lets autograd go through the statistics' part by hand only in training
            return BatchNormFunction.apply(x, mean.detach(), var.detach(), self.training or wrong, False)

    return BatchNorm()


ROWS = table.rows
