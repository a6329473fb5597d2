"""Wrong backwards of objects that are no plain names of a module, with calls that have options, modes or many elements."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import gradcheck_lab as gl
from tests.subjects.wrong_everywhere import Double, doubled, tripled

X = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.1, -0.3]])


class Scaled(nn.Module):
    def __init__(self, inputs: int, outputs: int = 2) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.weight = nn.Parameter(torch.randn(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return Double.apply(x @ self.weight.T)  # type: ignore[no-any-return, no-untyped-call]


class Affine:
    def __init__(self, W: Any, b: Any) -> None:
        self.W, self.b = W, b

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout: Any) -> Any:
        self.dW, self.db = self.x.T @ dout, dout.mean(axis=0)
        return dout @ self.W.T


class Sized:
    """Its weight is drawn in the constructor, which keeps its size."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.W = np.random.randn(size)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * self.W

    def backward(self, dout: Any) -> Any:
        self.dW = (dout * self.x).sum(axis=0) * 2
        return dout * self.W


class Power:
    def __init__(self, exponent: int) -> None:
        self.exponent = exponent

    def value(self, x: Tensor) -> Tensor:
        return x**self.exponent

    def backward(self, grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
        return (x ** (self.exponent - 1) * grad_output,)


class Outer:
    class Inner(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return 3 * grad_output


cubed = Power(3)


def scaled(x: Tensor, scale: float = 1.0) -> Tensor:
    return x * scale


def scaled_backward(grad_output: Tensor, output: Tensor, x: Tensor, scale: float = 1.0) -> Any:
    return (grad_output,)


def beyond(x: Tensor) -> Tensor:
    return x.clamp(min=-30.0)


right_above_the_bound = gl.Op(beyond, lambda grad_output, output, x: (grad_output,), name="right_above_the_bound")
FORMS: dict[str, Callable[[], gl.Report]] = {
    "apply": lambda: gl.check(Double.apply, X, wrt=["x"], probes=()),
    "nested class": lambda: gl.check(Outer.Inner, torch.randn(9, 9), seed=3),
    "module": lambda: gl.check(Scaled(3), X, probes=()),
    "module in float64, eval": lambda: gl.check(Scaled(3).double().eval(), X.double(), probes=()),
    "NumPy layer": lambda: gl.check(Affine(np.ones((3, 2)), np.zeros(2)), X.numpy(), probes=()),
    "layer with a drawn weight": lambda: gl.check(Sized(3), X.double().numpy(), probes=()),
    "named layer": lambda: gl.check(gl.Layer(Sized(3), grads={"W": "dW"}), X.double().numpy(), probes=()),
    "methods of a global": lambda: gl.check((cubed.value, cubed.backward), X, probes=()),
    "methods of an object": lambda: gl.check(gl.Op(Power(4).value, Power(4).backward), X, probes=()),
    "partial": lambda: gl.check(gl.Op(functools.partial(doubled), functools.partial(tripled), name="d"), X, probes=()),
    "options": lambda: gl.check(
        (scaled, scaled_backward), X.t(), options={"scale": 3.0}, grad_output=torch.ones(3, 2), order=2, seed=5, probes=()
    ),
    "reference": lambda: gl.check((doubled, tripled), X, reference=doubled, allow={"stale-state"}, probes=()),
    "list of arrays": lambda: gl.check(lambda_free, [X, X.t()], probes=()),
    "operator": lambda: gl.check(torch.ops.gradcheck_lab_wrong.double, X.double(), probes=()),
    "own process": lambda: gl.check(Double, torch.randn(9, 9), probes=(), isolate=True),
}  # fmt: skip


def lambda_free(tensors: list[Tensor]) -> Tensor:
    return Double.apply(tensors[0] @ tensors[1])  # type: ignore[no-any-return, no-untyped-call]
