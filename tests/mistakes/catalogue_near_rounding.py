"""Planted mistakes that lie near what rounding does: in the budget, between two runs, on calls that nobody made."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from tests.mistakes.registry import Table, normal

# mypy: disable-error-code="override"

table = Table()
X, X32, X16 = normal(4, 3), normal(4, 3, dtype=torch.float32), normal(4, 3, dtype=torch.bfloat16)


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


@table("value-dependent", "pair-bfloat16-branch", X)
def bfloat16_branch(wrong: bool) -> Any:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return ((2 if wrong and x.dtype == torch.bfloat16 else 1) * g * torch.cos(x),)

    return gl.Op(torch.sin, backward, name="sine")


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


@table("low-precision", "pair-upstream-in-half", X32)
def upstream_in_half(wrong: bool) -> Any:
    return gl.Op(torch.exp, lambda g, y, x: ((g.half().float() if wrong else g) * y,), name="exp")


@table("low-precision", "pair-upstream-in-bfloat16", X32)
def upstream_in_bfloat16(wrong: bool) -> Any:
    return gl.Op(torch.exp, lambda g, y, x: ((g.bfloat16().float() if wrong else g) * y,), name="exp")


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


def kernel_of(dtype: torch.dtype) -> Any:
    """A square that takes one dtype alone, so that no wider lane sees its mistake."""

    def build(wrong: bool) -> Any:
        class Kernel(Function):
            @staticmethod
            def forward(ctx: Any, x: Tensor) -> Tensor:
                if x.dtype != dtype:
                    raise NotImplementedError(f"the kernel takes {dtype}")
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx: Any, grad_output: Tensor) -> Tensor:
                (x,) = ctx.saved_tensors
                return (6 if wrong else 2) * grad_output * x

        return Kernel

    return build


table("constant-factor", "function-float32-kernel", X32)(kernel_of(torch.float32))
table("constant-factor", "function-bfloat16-kernel", X16)(kernel_of(torch.bfloat16))

ROWS = table.rows
