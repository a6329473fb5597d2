"""Planted mistakes of axes within a backward: statistics of the wrong one, and one that is walked backwards."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

import gradcheck_lab as gl
from tests.mistakes.registry import Table, array, normal

# mypy: disable-error-code="override"

table = Table()


@table("wrong-axis", "function-softmax", normal(4, 3))
def softmax(wrong: bool) -> Any:
    class Softmax(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = torch.softmax(x, -1)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (y,) = ctx.saved_tensors
            return y * (grad_output - (grad_output * y).sum(0 if wrong else -1, keepdim=True))

    return Softmax


@table("wrong-axis", "pair-log-sum-exp", normal(4, 5))
def log_sum_exp(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor) -> Any:
        return (g.unsqueeze(-1) * torch.softmax(x, 0 if wrong else -1),)

    return gl.Op(lambda x: torch.logsumexp(x, -1), backward, name="log_sum_exp")


@table("wrong-axis", "numpy-layer-centred", array(5, 4))
def centred(wrong: bool) -> Any:
    class Centred:
        def forward(self, x: Any) -> Any:
            return x - x.mean(0)

        def backward(self, dout: Any) -> Any:
            return dout - dout.mean(1, keepdims=True) if wrong else dout - dout.mean(0)

    return Centred()


@table("permuted", "module-correlation", normal(2, 8))
def correlation(wrong: bool) -> Any:
    class Correlation(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
            ctx.save_for_backward(x, kernel)
            return x.unfold(-1, 3, 1) @ kernel

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, kernel = ctx.saved_tensors
            padded = F.pad(grad_output, (2, 2)).unfold(-1, 3, 1)
            return padded @ (kernel if wrong else kernel.flip(0)), torch.einsum("nl,nlk->k", grad_output, x.unfold(-1, 3, 1))

    class Filter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(normal(3, seed=2))

        def forward(self, x: Tensor) -> Any:
            return Correlation.apply(x, self.kernel)

    return Filter()


@table("permuted", "layer-running-sum", normal(3, 6))
def running_sum(wrong: bool) -> Any:
    class RunningSum:
        def forward(self, x: Tensor) -> Tensor:
            return x.cumsum(-1)

        def backward(self, dout: Tensor) -> Tensor:
            return dout.cumsum(-1) if wrong else dout.flip(-1).cumsum(-1).flip(-1)

    return RunningSum()


ROWS = table.rows
