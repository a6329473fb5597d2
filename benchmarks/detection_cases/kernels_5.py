"""Row kernels that walk memory in their own way, wrong on some calls, after reports in public issue trackers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.library import custom_op

import gradcheck_lab as gl
from tests.mistakes.registry import Table, normal, operator_name

table = Table()
X, W = normal(6, 8), normal(8, seed=1)


def wide(*tensors: Tensor) -> list[Tensor]:
    """What a kernel accumulates in: float32 for 16 bits, else the tensor's own dtype."""
    return [t.to(torch.promote_types(t.dtype, torch.float32)) for t in tensors]


def scaled(x: Tensor, w: Tensor) -> Tensor:
    """Each row times the weights, squashed."""
    if w.dim() != 1 or w.shape != x.shape[-1:]:
        raise ValueError("the weight must have the width of a row")
    return torch.tanh(x * w)


def scaled_backward(dy: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """dx and the terms of dw as rows."""
    x_, w_, g = wide(x, w, dy)
    t = torch.tanh(x_ * w_)
    g = g * (1 - t) * (1 + t)
    return (g * w_).to(x.dtype), (g * x_).reshape(-1, w.numel())


def save_inputs(ctx: Any, inputs: Any, output: Any) -> None:
    """For an operator whose backward starts from its inputs."""
    ctx.save_for_backward(*inputs)


@table("upstream-layout", "rows-of-unit-stride", X, W)
def unit_stride(wrong: bool) -> Any:
    """The kernel gets the row stride of the incoming gradient and takes its elements to be neighbours."""

    class Scaled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return scaled(x, w)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, w = ctx.saved_tensors
            if wrong and dy.dim() == 2 and dy.stride(0) > 0:
                dy = dy.as_strided(dy.shape, (dy.stride(0), 1))
            dx, terms = scaled_backward(dy, x, w)
            return dx, terms.sum(0).to(w.dtype)

    return Scaled


@table("upstream-layout", "storage-read-from-its-start", normal(5, 6))
def storage_start(wrong: bool) -> Any:
    """The pointer passed on is that of the storage: right for every stride, wrong for a slice that starts later."""

    class Softsign(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x / (1 + x.abs())

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            if wrong and dy.numel():
                dy = dy.as_strided(dy.shape, dy.stride(), 0)
            return dy / (1 + x.abs()).square()

    return Softsign


@table("input-layout", "weight-taken-as-row-major", normal(5, 6), normal(4, 6, seed=1))
def row_major(wrong: bool) -> Any:
    """The backward hands the weight's memory to a kernel that computes its strides from its shape."""

    class Linear(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(x, weight)
            return x @ weight.mT

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            n, k = weight.shape
            dw = dy.reshape(-1, n).mT @ x.reshape(-1, k)
            if wrong and all(weight.stride()):
                weight = weight.as_strided((n, k), (k, 1))
            return dy @ weight, dw

    return Linear


@table("size-specialised", "vector-kernel-for-one-row", normal(5, 6), normal(4, 6, seed=1))
def one_row(wrong: bool) -> Any:
    """One row takes another kernel, which stores the weight gradient in the other order."""

    def linear(x: Tensor, weight: Tensor) -> Tensor:
        return x @ weight.mT

    op: Any = custom_op(operator_name("linear"), linear, mutates_args=(), schema="(Tensor x, Tensor weight) -> Tensor")
    op.register_fake(lambda x, weight: x.new_empty(*x.shape[:-1], weight.shape[0]))

    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        rows, xrows = dy.reshape(-1, weight.shape[0]), x.reshape(-1, weight.shape[1])
        if rows.shape[0] == 1:
            flat = torch.outer(xrows[0], rows[0]) if wrong else torch.outer(rows[0], xrows[0])
            return dy @ weight, flat.reshape(weight.shape)
        return dy @ weight, rows.mT @ xrows

    op.register_autograd(backward, setup_context=save_inputs)
    return op


@table("nondeterministic|low-precision", "stochastic-rounding-without-a-seed", X, W)
def stochastic_rounding(wrong: bool) -> Any:
    """The weight gradient is rounded up or down to few bits by chance, from a generator that nothing seeds."""

    def stochastic_backward(dy: Tensor, out: Tensor, x: Tensor, w: Tensor) -> Any:
        dx, terms = scaled_backward(dy, x, w)
        dw = terms.sum(0)
        if wrong:
            step = torch.exp2(torch.frexp(dw).exponent - 8.0).to(dw.dtype)
            noise = torch.from_numpy(np.random.default_rng().random(tuple(dw.shape))).to(dw.dtype)
            dw = torch.floor(dw / step + noise) * step
        return dx, dw.to(w.dtype)

    return gl.Op(scaled, stochastic_backward)


ROWS = tuple(table.rows)
