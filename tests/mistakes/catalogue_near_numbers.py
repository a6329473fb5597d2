"""Planted mistakes that only numeric derivatives or a batched call see, or that are detached from autograd."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from tests.mistakes.registry import Table, normal, positive

# mypy: disable-error-code="override"

table = Table()
X, X32 = normal(4, 3), normal(4, 3, dtype=torch.float32)


FEW = torch.tensor([0.5, -1.25, 0.75, 2.0, -0.25], dtype=torch.float64)


@table("wrong-value", "function-vmap-rule", X32)
def vmap_rule(wrong: bool) -> Any:
    class Sine(Function):
        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return torch.sin(x)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            return grad_output * torch.cos(ctx.saved_tensors[0])

        @staticmethod
        def vmap(info: Any, in_dims: Any, x: Tensor) -> Any:
            return (2 if wrong else 1) * Sine.apply(x), in_dims[0]

    return Sine


def by_numbers(function: Any) -> Any:
    """A forward that computes number by number, which no autograd follows."""
    return lambda x: torch.tensor([function(v) for v in x.reshape(-1).tolist()], dtype=x.dtype).reshape(x.shape)


@table("constant-factor", "pair-number-by-number", FEW)
def number_by_number(wrong: bool) -> Any:
    factor = 3 if wrong else 1
    return gl.Op(by_numbers(math.tanh), lambda g, y, x: (factor * g * (1 - y * y),), name="tanh")


@table("constant-factor", "pair-hardly-any-slope", FEW)
def hardly_any_slope(wrong: bool) -> Any:
    def forward(x: float) -> float:
        return 1e-6 * (1 + 1e-12 * math.tanh(x))

    factor = 3e-18 if wrong else 1e-18
    return gl.Op(by_numbers(forward), lambda g, y, x: (factor * g * (1 - torch.tanh(x) ** 2),), name="flat")


@table("outside-subdifferential", "pair-number-by-number-at-its-kink", torch.tensor([0.0, -1.25, 0.75], dtype=torch.float64))
def number_by_number_at_its_kink(wrong: bool) -> Any:
    def forward(x: float) -> float:
        return math.exp(1.3 * x) - 1 if x > 0 else 0.0

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        slope = torch.where(x >= 0, 1.3 * torch.exp(1.3 * x), 0)
        return (g * (slope + (5 * (x == 0) if wrong else 0)),)

    return gl.Op(by_numbers(forward), backward, name="bent")


def through_numpy(function: Any) -> Any:
    """A forward in NumPy on what torch hands over, in real or in complex numbers."""
    return lambda x: torch.from_numpy(function(x.detach().numpy()))


@table("wrong-value", "pair-numpy-long-nearly-one", normal(300))
def numpy_long_nearly_one(wrong: bool) -> Any:
    factor = 1 + 1e-9 if wrong else 1
    return gl.Op(through_numpy(np.tanh), lambda g, y, x: (factor * g * (1 - y * y),), name="tanh")


HALVES = torch.tensor([1.5, 2.0, 2.5, 3.0, 3.5], dtype=torch.float64)


@table("wrong-value", "pair-numpy-at-zero-nearly-one", HALVES)
def numpy_at_zero_nearly_one(wrong: bool) -> Any:
    factor = 1 + 5e-13 if wrong else 1
    here = HALVES.numpy() ** 3.7
    return gl.Op(through_numpy(lambda x: x**3.7 - here), lambda g, y, x: (factor * g * 3.7 * x**2.7,), name="power")


@table("sign", "pair-numpy-real-part", normal(5))
def numpy_real_part(wrong: bool) -> Any:
    sign = -1 if wrong else 1
    return gl.Op(through_numpy(lambda x: np.real(x) * x), lambda g, y, x: (sign * 2 * g * x,), name="square")


class Cube(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return 3 * grad_output * ctx.saved_tensors[0] ** 2


def beside_a_detached_rule(share: float, whole: float) -> Any:
    def build(wrong: bool) -> Any:
        return lambda x: whole * (x + share * Cube.apply(x.detach() if wrong else x))

    return build


table("disconnected", "plain-detached-part", X)(beside_a_detached_rule(1e-4, 1.0))


table("disconnected", "plain-detached-part-of-little", X)(beside_a_detached_rule(1e-1, 1e-7))


table("disconnected", "plain-detached-part-of-much", normal(600, 500))(beside_a_detached_rule(1e-3, 1.0))


@table("disconnected", "plain-detached-in-float32", X)
def detached_in_float32(wrong: bool) -> Any:
    def function(x: Tensor) -> Tensor:
        narrow = torch.sin(x.float()).to(x.dtype)
        return narrow.detach() if wrong else torch.sin(x)

    return function


@table("disconnected", "plain-detached-part-in-float32", X)
def detached_part_in_float32(wrong: bool) -> Any:
    return lambda x: x + 0.1 * Cube.apply((x.detach() if wrong else x).float()).to(x.dtype)


@table("wrong-value", "pair-numpy-power-nearly-one", positive(5) + 50)
def numpy_power_nearly_one(wrong: bool) -> Any:
    factor = 1 + 5e-13 if wrong else 1
    return gl.Op(through_numpy(lambda x: x**3.7), lambda g, y, x: (factor * g * 3.7 * x**2.7,), name="power")


ROWS = table.rows
