"""Planted mistakes that lie near a threshold: each is caught, or gets its cause, because the number is what it is."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from tests.mistakes.registry import Table, complex_normal, normal, positive

# mypy: disable-error-code="override"

table = Table()
X, X32, X16 = normal(4, 3), normal(4, 3, dtype=torch.float32), normal(4, 3, dtype=torch.bfloat16)
FEW = torch.tensor([0.5, -1.25, 0.75, 2.0, -0.25], dtype=torch.float64)


@table("constant-factor", "pair-nearly-one", X)
def nearly_one(wrong: bool) -> Any:
    factor = 1 + 1e-9 if wrong else 1
    return gl.Op(lambda x: x**3, lambda g, y, x: (factor * 3 * x * x * g,), name="cube")


@table("constant-factor", "pair-in-tenths", normal(10, 10), probes=())
def in_tenths(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        grad = 2 * g * x * 10.0 ** (17 if wrong else 16)
        for _ in range(16):  # a tenth is rounded up: sixteen of them are too large by eight roundings
            grad = grad * 0.1
        return (grad,)

    return gl.Op(torch.square, backward, name="square")


@table("constant-factor", "pair-bfloat16", X16)
def in_bfloat16(wrong: bool) -> Any:
    return gl.Op(torch.square, lambda g, y, x: ((6 if wrong else 2) * g * x,), name="square")


@table("constant-factor", "pair-float32", X32)
def in_float32(wrong: bool) -> Any:
    return gl.Op(torch.square, lambda g, y, x: ((6 if wrong else 2) * g * x,), name="square")


@table("constant-factor", "pair-complex64", complex_normal(4, 3).to(torch.complex64))
def in_complex64(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return ((0.3 if wrong else 1) * 2 * g * x.conj(),)

    return gl.Op(lambda x: x * x, backward, name="square")


@table("constant-factor", "function-float32-kernel", X32)
def float32_kernel(wrong: bool) -> Any:
    class Kernel(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            if x.dtype != torch.float32:
                raise NotImplementedError("the kernel takes float32")
            ctx.save_for_backward(x)
            return torch.sin(x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return (2 if wrong else 1) * grad_output * torch.cos(x)

    return Kernel


@table("constant-factor", "pair-three-of-six-rows", normal(6, 4))
def three_of_six_rows(wrong: bool) -> Any:
    return gl.Op(torch.sin, lambda g, y, x: ((3 if wrong else 1) * g * torch.cos(x),), name="sine")


def spread(x: Tensor) -> Tensor:
    return x.std(-1, correction=0, keepdim=True)


@table("constant-factor", "pair-spread-of-rows", normal(6, 8) * torch.arange(1, 7).double().unsqueeze(1))
def spread_of_rows(wrong: bool) -> Any:
    return gl.Op(torch.sin, lambda g, y, x: (g * torch.cos(x) / (spread(x) if wrong else 1),), name="sine")


@table("constant-factor", "pair-spread-of-rows-float32", (normal(6, 8) * torch.arange(1, 7).unsqueeze(1)).float())
def spread_of_rows_in_float32(wrong: bool) -> Any:
    return gl.Op(torch.sin, lambda g, y, x: (g * torch.cos(x) / (spread(x) if wrong else 1),), name="sine")


@table("constant-factor", "pair-spread-of-rows-bfloat16", (8 * normal(6, 16) * torch.arange(1, 7).unsqueeze(1)).bfloat16())
def spread_of_rows_in_bfloat16(wrong: bool) -> Any:
    return gl.Op(lambda x: x * x, lambda g, y, x: (2 * g * x * (spread(x) if wrong else 1),), name="square")


@table("constant-factor", "pair-not-quite-the-spread", normal(6, 8) * torch.arange(1, 7).double().unsqueeze(1))
def not_quite_the_spread(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        other = spread(x) * (1 + 1e-4 * torch.arange(len(x)).double().unsqueeze(1))
        return (g * torch.cos(x) / (other if wrong else 1),)

    return gl.Op(torch.sin, backward, name="sine")


@table(
    "constant-factor",
    "pair-option-under-a-root",
    normal(6, 8) * torch.arange(1, 7).double().unsqueeze(1) / 10,
    options={"eps": 0.01},
)
def option_under_a_root(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor, *, eps: float) -> Any:
        return (g * torch.cos(x) * ((spread(x) ** 2 + eps).sqrt() if wrong else 1),)

    return gl.Op(lambda x, *, eps: torch.sin(x), backward, name="sine")


@table("missing-term", "pair-three-upstreams-float32", X32)
def three_upstreams(wrong: bool) -> Any:
    return gl.Op(lambda x: torch.sin(x) + 3.7 * x, lambda g, y, x: (g * torch.cos(x) + (0 if wrong else 3.7 * g),), name="skip")


@table("missing-term", "pair-one-row-left-out", normal(6, 5), normal(5, 4, seed=1))
def one_row_left_out(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor, weight: Tensor) -> Any:
        kept = slice(0, 5) if wrong else slice(None)
        return g @ weight.mT, x[kept].mT @ g[kept]

    return gl.Op(torch.matmul, backward, name="product")


@table("value-dependent", "pair-bfloat16-branch", X)
def bfloat16_branch(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return ((2 if wrong and x.dtype == torch.bfloat16 else 1) * g * torch.cos(x),)

    return gl.Op(torch.sin, backward, name="sine")


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


@table("constant-factor", "pair-numpy-nearly-one", normal(5))
def numpy_nearly_one(wrong: bool) -> Any:
    factor = 1 + 1e-11 if wrong else 1
    return gl.Op(through_numpy(np.tanh), lambda g, y, x: (factor * g * (1 - y * y),), name="tanh")


@table("wrong-value", "pair-numpy-long-nearly-one", normal(300))
def numpy_long_nearly_one(wrong: bool) -> Any:
    factor = 1 + 1e-9 if wrong else 1
    return gl.Op(through_numpy(np.tanh), lambda g, y, x: (factor * g * (1 - y * y),), name="tanh")


@table("constant-factor", "pair-numpy-large-nearly-one", positive(5) + 12)
def numpy_large_nearly_one(wrong: bool) -> Any:
    factor = 1 + 1e-11 if wrong else 1
    return gl.Op(through_numpy(np.exp), lambda g, y, x: (factor * g * y,), name="exp")


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


@table("unwritten-elements", "pair-trace-of-scratch", X)
def trace_of_scratch(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        scratch = torch.empty_like(x) if wrong else torch.zeros_like(x)
        return (g * torch.cos(x) + 1e-20 * torch.nan_to_num(scratch, 0.0, 0.0, 0.0),)

    return gl.Op(torch.sin, backward, name="sine")


def slightly_by_storage(share: float) -> Any:
    """A small part of the gradient is read in another order where the input is not contiguous."""

    def build(wrong: bool) -> Any:
        def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
            read = x.flip(0) if wrong and not x.is_contiguous() else x
            return (g * (1 + share * torch.cos(read)),)

        return gl.Op(lambda x: x + share * torch.sin(x), backward, name="corrected")

    return build


table("input-layout", "pair-storage-of-a-thousandth", X)(slightly_by_storage(1e-3))
table("input-layout", "pair-bfloat16-storage-of-a-third", X16)(slightly_by_storage(0.3))


@table("input-layout", "pair-bfloat16-storage", X16)
def bfloat16_storage(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        values = torch.as_strided(x, x.shape, (x.shape[1], 1), x.storage_offset()) if wrong else x
        return (2 * g * values,)

    return gl.Op(torch.square, backward, name="square")


@table("input-layout", "pair-float32-storage", X32)
def float32_storage(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        values = torch.as_strided(x, x.shape, (x.shape[1], 1), x.storage_offset()) if wrong else x
        return (2 * g * values,)

    return gl.Op(torch.square, backward, name="square")


@table("constant-factor", "function-bfloat16-kernel", X16)
def bfloat16_kernel(wrong: bool) -> Any:
    class Kernel(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            if x.dtype != torch.bfloat16:
                raise NotImplementedError("the kernel takes bfloat16")
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return (6 if wrong else 2) * grad_output * x

    return Kernel


@table("missing-term", "pair-faint-term", X)
def faint_term(wrong: bool) -> Any:
    return gl.Op(
        lambda x: torch.sin(x) + 1e-8 * x, lambda g, y, x: (g * torch.cos(x) + (0 if wrong else 1e-8 * g),), name="faint"
    )


@table("wrong-value", "pair-extra-factor-float32", positive(4, 3).float())
def extra_factor(wrong: bool) -> Any:
    return gl.Op(torch.sin, lambda g, y, x: (g * torch.cos(x) * (x if wrong else 1),), name="sine")


@table("constant-factor", "pair-two-rows-doubled-float32", normal(4, 4, dtype=torch.float32))
def two_rows_doubled(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        grad = g * torch.cos(x)
        if wrong:
            grad[:2] *= 2
        return (grad,)

    return gl.Op(torch.sin, backward, name="sine")


@table("missing-term", "pair-one-row-left-out-float32", normal(6, 5).float(), normal(5, 4, seed=1).float())
def one_row_left_out_in_float32(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor, weight: Tensor) -> Any:
        kept = slice(0, 5) if wrong else slice(None)
        return g @ weight.mT, x[kept].mT @ g[kept]

    return gl.Op(torch.matmul, backward, name="product")


@table("disconnected", "plain-detached-part-in-float32", X)
def detached_part_in_float32(wrong: bool) -> Any:
    return lambda x: x + 0.1 * Cube.apply((x.detach() if wrong else x).float()).to(x.dtype)


@table("wrong-value", "pair-numpy-power-nearly-one", positive(5) + 50)
def numpy_power_nearly_one(wrong: bool) -> Any:
    factor = 1 + 5e-13 if wrong else 1
    return gl.Op(through_numpy(lambda x: x**3.7), lambda g, y, x: (factor * g * 3.7 * x**2.7,), name="power")


@table("value-dependent", "pair-fourth-power-of-large", X)
def fourth_power_of_large(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        factor = torch.where(x.abs() > 900, 2, 1) if wrong else 1
        return (factor * 4 * g * x**3,)

    return gl.Op(lambda x: x**4, backward, name="fourth_power")


@table("size-specialised", "pair-faint-tail", X)
def faint_tail(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        grad = (g * torch.cos(x)).reshape(-1).clone()
        if wrong:
            grad[16:] *= 1e-25
        return (grad.reshape(x.shape),)

    return gl.Op(torch.sin, backward, name="sine")


@table("low-precision", "pair-input-in-float32", normal(6, 8))
def input_in_float32(wrong: bool) -> Any:
    return gl.Op(torch.square, lambda g, y, x: (2 * g * (x.float().to(x.dtype) if wrong else x),), name="square")


AT_ZERO = torch.tensor([0.0, 1.5, -0.75, 0.0, 2.5, -1.25], dtype=torch.float64)


@table("outside-subdifferential", "pair-small-kink", AT_ZERO)
def small_kink(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g * (100 + (x > 0) + (2 * (x == 0) if wrong else 0)),)

    return gl.Op(lambda x: 100 * x + x.clamp(min=0), backward, name="bent")


@table("not-linear", "pair-largest-only-bfloat16", X16)
def largest_only(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        kept = g.abs() == g.abs().max() if wrong else torch.ones_like(g)
        return (2 * g * x * kept,)

    return gl.Op(torch.square, backward, name="square")


@table("wrong-axis", "pair-softmax-float32", X32)
def softmax_in_float32(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (y * (g - (g * y).sum(0 if wrong else -1, keepdim=True)),)

    return gl.Op(lambda x: torch.softmax(x, -1), backward, name="softmax")


@table("value-dependent", "pair-square-of-very-large", X)
def square_of_very_large(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (torch.where(x.abs() > 5000, 2 if wrong else 1, 1) * 2 * g * x,)

    return gl.Op(torch.square, backward, name="square")


@table("not-linear", "pair-cut-above-a-million", X)
def cut_above_a_million(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return ((g.clamp(-1e6, 1e6) if wrong else g) * torch.cos(x),)

    return gl.Op(torch.sin, backward, name="sine")


KNOTS = torch.tensor([0.3, 0.7, 1.1, 1.9, -0.4, -0.9, 0.0, 0.0])
BESIDE_KNOTS = KNOTS + torch.tensor([0.0, 0.0, 0.0, 0.0, 1.25, 2.0, -1.5, 3.0])


@table("constant-factor", "pair-elements-at-their-kinks-float32", BESIDE_KNOTS)
def elements_at_their_kinks(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return ((1 + 5e-4 if wrong else 1) * g * (x > KNOTS.to(x)),)

    return gl.Op(lambda x: (x - KNOTS.to(x)).clamp(min=0), backward, name="hinges")


@table("epsilon-mismatch", "layer-root-float32", positive(4, 3).float() + 1)
def root_in_float32(wrong: bool) -> Any:
    class Root:
        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return (x * x + 1e-6).sqrt()

        def backward(self, dout: Tensor) -> Tensor:
            return dout * self.x / (self.x * self.x + (1e-12 if wrong else 1e-6)).sqrt()

    return Root()


@table("sign", "layer-identity-by-squares-float32", X32)
def identity_by_squares(wrong: bool) -> Any:
    class Identity:
        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return x * 1

        def backward(self, dout: Tensor) -> Tensor:
            one = (1 + self.x * self.x) - self.x * self.x
            return (-1 if wrong else 1) * dout * one

    return Identity()


ROWS = table.rows
