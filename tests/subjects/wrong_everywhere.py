"""A wrong backward in every form; the line where each is defined is marked with its name."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.specs import real


def tripled(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:  # op, program
    return (3 * grad_output,)


def doubled(x: Any) -> Any:
    return 2 * x


op = gl.Op(doubled, tripled, name="double")
in_lambda = gl.Op(doubled, lambda g, y, x: (3 * g,), name="double")  # in_lambda
partly = gl.Op(doubled, functools.partial(tripled), name="double")


@gl.op(real("n"))
def rule(x: Tensor) -> Tensor:
    return 2 * x


@rule.backward
def rule_backward(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:  # rule
    return (3 * grad_output,)


def reordered(x: Tensor, dout: Tensor) -> Any:  # reordered
    return (3 * dout,)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # function, module, in_function
        return 3 * grad_output


class Module(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return Double.apply(x * self.weight)  # type: ignore[no-any-return, no-untyped-call]


def in_function(x: Tensor) -> Tensor:
    return Double.apply(x).sum()  # type: ignore[no-any-return, no-untyped-call]


def program(x: Tensor) -> Tensor:
    y = ops.tanh(x)
    return op(y)  # type: ignore[no-any-return]


@torch.library.custom_op("gradcheck_lab_wrong::double", mutates_args=())
def custom(x: Tensor) -> Tensor:
    return 2 * x


def custom_backward(ctx: Any, grad_output: Tensor) -> Tensor:  # custom
    return 3 * grad_output


custom.register_autograd(custom_backward)


class Layer:
    def forward(self, x: Any) -> Any:
        return 2 * x

    def backward(self, dout: Any) -> Any:  # layer, named
        return 3 * dout


class Static:
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, dout: Any) -> Any:  # static
        return 3 * dout


def cached(x: Any) -> Any:
    return 2 * x, x


def cached_backward(dout: Any, cache: Any) -> Any:  # cached
    return 3 * dout


def square_prime(x: Any) -> Any:  # derivative
    return 3 * x


def loss(x: Any) -> Any:  # loss
    value, dx = np.sum(x * x), 3 * x
    return value, dx


ARRAY, TENSOR = np.array([0.5, -1.0, 2.0]), torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
CALLS: dict[str, Any] = {
    "op": (op, TENSOR),
    "in_lambda": (in_lambda, TENSOR),
    "rule": (rule, TENSOR),
    "reordered": ((doubled, reordered), TENSOR),
    "function": (Double, TENSOR),
    "module": (Module().double(), TENSOR),
    "in_function": (in_function, TENSOR),
    "program": (program, TENSOR),
    "custom": (custom, TENSOR),
    "layer": (Layer(), ARRAY),
    "named": (gl.Layer(Layer(), forward="forward", backward="backward"), ARRAY),
    "static": (Static, ARRAY),
    "cached": ((cached, cached_backward), ARRAY),
    "derivative": ((np.square, square_prime), ARRAY),
    "loss": (loss, ARRAY),
}
