"""Planted mistakes that the sizes of a call hide: equal lengths by chance, axes of size 1, and inputs of a lower rank."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

import gradcheck_lab as gl
from tests.mistakes.registry import Table, array, normal

# mypy: disable-error-code="override"

table = Table()


@table("size-specialised", "pair-numpy-mean-of-a-square", array(4, 4))
def mean_of_a_square(wrong: bool) -> Any:
    def backward(dout: Any, cache: Any) -> Any:
        rows, columns = cache.shape
        return np.repeat(dout[:, None] / (rows if wrong else columns), columns, axis=1)

    return lambda x: (x.mean(axis=1), x), backward


@table("size-specialised", "pair-numpy-scores-of-as-many-keys-as-features", array(3, 3), array(3, 3, seed=1))
def scores(wrong: bool) -> Any:
    def forward(q: Any, k: Any) -> Any:
        return q @ k.T / np.sqrt(q.shape[1]), (q, k)

    def backward(dout: Any, cache: Any) -> Any:
        q, k = cache
        scaled = dout / np.sqrt(q.shape[0 if wrong else 1])
        return scaled @ k, scaled.T @ q

    return forward, backward


@table("size-specialised", "layer-numpy-square-batch-and-a-bias", array(4, 4))
def square_batch(wrong: bool) -> Any:
    class Linear:
        def __init__(self) -> None:
            self.W, self.b = array(4, 5, seed=1), array(5, seed=2)

        def forward(self, x: Any) -> Any:
            self.x = x
            return (x @ self.W + self.b) / x.shape[1]

        def backward(self, dout: Any) -> Any:
            dout = dout / self.x.shape[0 if wrong else 1]
            self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
            return dout @ self.W.T

    return Linear()


@table("size-specialised", "function-heads-of-one-group", normal(2, 1, 3), 2)
def heads(wrong: bool) -> Any:
    class RepeatHeads(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, n: int) -> Tensor:
            ctx.n = n
            return x.repeat_interleave(n, 1)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            b, h, d = grad_output.shape
            parts = grad_output.reshape(b, ctx.n, h // ctx.n, d) if wrong else grad_output.reshape(b, h // ctx.n, ctx.n, d)
            return parts.sum(1 if wrong else 2), None

    return RepeatHeads


@table("size-specialised", "function-one-channel", normal(2, 1, 5, 5), normal(1, 1, 3, 3, seed=1))
def one_channel(wrong: bool) -> Any:
    class Convolution(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(x, weight)
            return F.conv2d(x, weight)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            grad = torch.nn.grad.conv2d_weight(x, weight.shape, grad_output)  # type: ignore[arg-type]
            grad = grad.sum(1, keepdim=True).expand(weight.shape).clone() if wrong else grad
            return torch.nn.grad.conv2d_input(x.shape, weight, grad_output), grad  # type: ignore[arg-type]

    return Convolution


@table("size-specialised", "op-transpose-of-one-row", normal(2, 1, 4))
def transpose_of_one_row(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g.reshape(x.shape) if wrong else g.reshape(x.mT.shape).mT,)

    return gl.Op(lambda x: x.mT.flatten(1), backward, name="columns")


@table("size-specialised", "layer-numpy-one-sample", array(1, 3))
def one_sample(wrong: bool) -> Any:
    class Linear:
        def __init__(self) -> None:
            self.W, self.b = array(3, 2, seed=1), array(2, seed=2)

        def forward(self, x: Any) -> Any:
            self.x = x
            return x @ self.W + self.b

        def backward(self, dout: Any) -> Any:
            self.dW, self.db = self.x.T @ dout, dout[0] if wrong else dout.sum(axis=0)
            return dout @ self.W.T

    return Linear()


@table("size-specialised", "module-mean-over-one-row", normal(2, 1, 3))
def mean_over_one_row(wrong: bool) -> Any:
    class Centre(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x - x.mean((-2, -1), keepdim=True)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return grad_output - grad_output.mean(-1 if wrong else (-2, -1), keepdim=True)

    class Module(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return Centre.apply(x)  # type: ignore[no-untyped-call]

    return Module()


@table("missing-broadcast-sum", "pair-bias-of-one-row", normal(4, 3), normal(3, seed=1))
def bias_of_one_row(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor, b: Tensor) -> Any:
        return g, (g if b.ndim > 1 else g.sum(0)) if wrong else g.sum_to_size(b.shape)

    return lambda x, b: x + b, backward


@table("missing-broadcast-sum", "layer-numpy-bias-of-one-row", array(4, 3))
def layers_bias_of_one_row(wrong: bool) -> Any:
    class Shift:
        def __init__(self) -> None:
            self.b = array(3, seed=1)

        def forward(self, x: Any) -> Any:
            return x + self.b

        def backward(self, dout: Any) -> Any:
            self.db = dout if wrong and self.b.ndim > 1 else dout.sum(axis=0)
            return dout

    return Shift()


@table("size-specialised", "function-weight-of-one-row", normal(4, 3), normal(3, seed=1))
def weight_of_one_row(wrong: bool) -> Any:
    class Scale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return x * w

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, w = ctx.saved_tensors
            each = grad_output * x
            grad = each.flatten(0, -2).sum(0)  # of the shape of a vector, or, if wrong, one row of the terms
            return grad_output * w, each[..., :1, :] if wrong and w.ndim > 1 else grad.reshape(w.shape[-1:])

    return Scale


ROWS = table.rows
