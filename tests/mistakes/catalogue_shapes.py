"""Planted mistakes of shapes and dtypes, and backwards that are never run."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

import gradcheck_lab as gl
from tests.mistakes.registry import Table, array, normal, whole

# mypy: disable-error-code="override"

table = Table()
X, X32 = normal(4, 3), normal(4, 3, dtype=torch.float32)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + 1e-3).rsqrt() * weight


@table("missing-broadcast-sum", "pair-channel-scale", normal(2, 3, 5), normal(3, 1, seed=1))
def channel_scale(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor, scale: Tensor) -> Any:
        return g * scale, g * x if wrong else (g * x).sum_to_size(scale.shape)

    return torch.mul, backward


@table("missing-broadcast-sum", "layer-bias", X)
def layer_bias(wrong: bool) -> Any:
    class Affine:
        def __init__(self) -> None:
            self.W, self.b = array(3, 5, seed=1), array(5, seed=2)
            self.dW: Any = None
            self.db: Any = None

        def forward(self, x: Any) -> Any:
            self.x = x
            return np.dot(x, self.W) + self.b

        def backward(self, dout: Any) -> Any:
            self.dW = np.dot(self.x.T, dout)
            self.db = np.ones(len(dout)) @ dout
            return np.dot(dout, self.W.T)

    class Unsummed(Affine):
        def backward(self, dout: Any) -> Any:
            dx = super().backward(dout)
            self.db = dout
            return dx

    return Unsummed() if wrong else Affine()


@table("missing-broadcast-sum", "program-temperature", X, normal(1, seed=2).exp())
def temperature(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor, t: Tensor) -> Any:
        grad_t = -g * output / t
        return g / t, grad_t if wrong else grad_t.sum_to_size(t.shape)

    divide = gl.Op(lambda x, t: x / t, backward, name="divide")

    def program(x: Any, t: Any) -> Any:
        scaled = divide(x, t)
        return gl.ops.relu(scaled)

    return program


@table("wrong-shape", "function-row-mean", X)
def row_mean(wrong: bool) -> Any:
    class RowMean(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.shape = x.shape
            return x.mean(-1)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            grad = grad_output / ctx.shape[-1]
            return grad if wrong else grad[..., None].expand(ctx.shape)

    return RowMean


@table("wrong-shape", "layer-kept-dimension", X)
def kept_dimension(wrong: bool) -> Any:
    class Linear:
        def __init__(self) -> None:
            self.weight, self.bias = normal(3, 2, seed=1), normal(2, seed=2)
            self.grad_weight: Any = None
            self.grad_bias: Any = None

        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return x @ self.weight + self.bias

        def backward(self, grad: Tensor) -> Tensor:
            self.grad_weight = self.x.T @ grad
            self.grad_bias = grad.sum(dim=0, keepdim=wrong)
            return grad @ self.weight.T

    return Linear()


@table("wrong-shape", "pair-flattened", normal(2, 3, 4))
def flattened(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor) -> Any:
        return (g * 1.0 if wrong else g.reshape(x.shape),)

    return gl.Op(lambda x: x.flatten(1), backward, name="flatten")


@table("wrong-dtype", "pair-default-zeros", X)
def default_zeros(wrong: bool) -> Any:
    def backward(g: Tensor, output: Tensor, x: Tensor) -> Any:
        grad = torch.zeros(x.shape) if wrong else x.new_zeros(x.shape)
        grad[..., 1:] = g
        grad[..., :-1] -= g
        return grad

    return gl.Op(lambda x: x[..., 1:] - x[..., :-1], backward, name="diff")


@table("wrong-dtype", "function-embedding", normal(7, 3), whole(7, 5))
def embedding(wrong: bool) -> Any:
    class Embedding(Function):
        @staticmethod
        def forward(ctx: Any, weight: Tensor, index: Tensor) -> Tensor:
            ctx.save_for_backward(index)
            ctx.size, ctx.dtype = weight.shape, torch.float32 if wrong else weight.dtype
            return weight[index]

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (index,) = ctx.saved_tensors
            grad = torch.zeros(ctx.size, dtype=ctx.dtype)
            flat = grad_output.reshape(-1, ctx.size[-1]).to(ctx.dtype)
            return grad.index_add(0, index.reshape(-1), flat), None

    return Embedding


@table("wrong-dtype", "layer-half-weight", X32)
def half_weight(wrong: bool) -> Any:
    class Scale:
        def __init__(self) -> None:
            self.w: Any = normal(3, seed=1, dtype=torch.float32)
            self.dw: Any = None

        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return x * self.w  # type: ignore[no-any-return]

        def backward(self, dout: Tensor) -> Tensor:
            self.dw = (dout * self.x).sum(0)
            if wrong:
                self.dw = self.dw.half()
            return dout * self.w  # type: ignore[no-any-return]

    return Scale()


class Softsign(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x / (1 + x.abs())

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_output / (1 + x.abs()) ** 2


@table("disconnected", "plain-detached", X)
def detached(wrong: bool) -> Any:
    return lambda x: Softsign.apply(x.detach() if wrong else x)


@table("disconnected", "module-no-grad", X)
def under_no_grad(wrong: bool) -> Any:
    class Activation(nn.Module):
        def forward(self, x: Tensor) -> Any:
            with torch.set_grad_enabled(not wrong):
                return Softsign.apply(x)

    return Activation()


@table("disconnected", "plain-through-numpy", X)
def through_numpy(wrong: bool) -> Any:
    class Sinh(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return torch.from_numpy(np.sinh(x.detach().numpy()))

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return grad_output * torch.cosh(x)

    def forgot_apply(x: Tensor) -> Tensor:
        return torch.from_numpy(np.sinh(x.detach().numpy()))

    return forgot_apply if wrong else lambda x: Sinh.apply(x)


ROWS = table.rows
