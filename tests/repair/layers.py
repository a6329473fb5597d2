"""Wrong backwards in every form, as users write them, with one mistake each; and the line that mends it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import operator_name


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad_output * x


class RootMeanSquare(torch.autograd.Function):
    """Its statistic is saved, so that second derivatives are wrong as well; that shows only once the exponent is right."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rate = (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
        ctx.save_for_backward(x, rate)
        return x * rate

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # type: ignore[override]
        x, rate = ctx.saved_tensors
        return rate * grad_output - x * rate**2 * (grad_output * x).mean(-1, keepdim=True)


class Power(torch.autograd.Function):
    """No edit is near what it should return, and its exponent is a number among the inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, exponent: float) -> Tensor:
        ctx.save_for_backward(x)
        return torch.sin(x**exponent).exp()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:  # type: ignore[override]
        return torch.zeros_like(grad_output), None


class Dense:
    def __init__(self) -> None:
        self.W = np.linspace(-1.0, 1.0, 6).reshape(3, 2)
        self.b = np.zeros(2)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout: Any) -> Any:
        self.dW = self.x.T @ dout
        self.db = dout.sum(1)
        return dout @ self.W.T


def tanh_forward(x: Tensor) -> Tensor:
    return torch.tanh(x)


def tanh_backward(grad_output: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
    return (grad_output * (1 - output),)


def scale_forward(x: Tensor, weight: Tensor) -> Tensor:
    return x * weight


def scale_backward(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return grad_output * weight, grad_output * x


def two_mistakes(grad_output: Tensor, output: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return grad_output * x, -(grad_output * x).sum_to_size(weight.shape)


def nothing_like_it(grad_output: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
    return (torch.cumsum(torch.zeros(5), 0),)  # type: ignore[return-value]


def logistic(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def forever(grad_output: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
    rounds = 3
    while rounds > 0:
        rounds -= 1
    return (2 * grad_output * x * x,)


def cube() -> Any:
    @torch.library.custom_op(operator_name("cube"), mutates_args=())
    def cube(x: Tensor) -> Tensor:
        return x**3

    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x * grad_output

    cube.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))
    return cube


tanh = gl.Op(tanh_forward, tanh_backward, name="tanh")
