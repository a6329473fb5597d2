"""Normalisation kernels whose backward is wrong on some calls, after reports in public issue trackers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from tests.mistakes.registry import Table, normal

table = Table()
BLOCK = 4
X, W, B = normal(6, 8), normal(8, seed=1), normal(8, seed=2)


def cdiv(a: int, b: int) -> int:
    """Blocks that cover a elements."""
    return (a + b - 1) // b


def wide(*tensors: Tensor) -> list[Tensor]:
    """What a kernel accumulates in: float32 for 16 bits, else the tensor's own dtype."""
    return [t.to(torch.promote_types(t.dtype, torch.float32)) for t in tensors]


def rms_backward(dy: Tensor, x: Tensor, w: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """dx and the terms of dw, row by row."""
    rstd = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    xhat = x * rstd
    wdy = dy * w
    return rstd * (wdy - xhat * (wdy * xhat).mean(-1, keepdim=True)), dy * xhat


def rms_norm(x: Tensor, w: Tensor, eps: float = 1e-6) -> Tensor:
    """x over its root mean square, times w."""
    if w.dim() != 1 or w.shape != x.shape[-1:]:
        raise ValueError("the weight must have the width of a row")
    (x_,) = wide(x)
    return (x_ * torch.rsqrt(x_.square().mean(-1, keepdim=True) + eps) * w).to(x.dtype)


def layer_norm(x: Tensor, w: Tensor, b: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor, Tensor]:
    """The output, and what the backward keeps: normalised rows and 1/std."""
    if w.dim() != 1 or not w.shape == b.shape == x.shape[-1:]:
        raise ValueError("weight and bias must have the width of a row")
    (x_,) = wide(x)
    rstd = torch.rsqrt(x_.var(-1, correction=0, keepdim=True) + eps)
    xhat = (x_ - x_.mean(-1, keepdim=True)) * rstd
    return (xhat * w + b).to(x.dtype), xhat, rstd


def layer_norm_dx(dy: Tensor, xhat: Tensor, rstd: Tensor, w: Tensor) -> Tensor:
    """The gradient of the rows."""
    wdy = dy * w
    return rstd * (wdy - wdy.mean(-1, keepdim=True) - xhat * (wdy * xhat).mean(-1, keepdim=True))


@table("unwritten-elements", "last-columns-of-the-weight", X, W, B)
def weight_tail(wrong: bool) -> Any:
    """The grid of the weight gradient has only whole blocks of columns: the last columns stay as allocated."""

    class LayerNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            y, xhat, rstd = layer_norm(x, w, b)
            ctx.save_for_backward(xhat, rstd, w)
            return y

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            xhat, rstd, w = ctx.saved_tensors
            n = w.numel()
            rows, xrows = wide(dy)[0].reshape(-1, n), xhat.reshape(-1, n)
            dw, db = torch.empty_like(w), torch.empty_like(w)
            for pid in range(n // BLOCK if wrong else cdiv(n, BLOCK)):
                cols = slice(pid * BLOCK, (pid + 1) * BLOCK)
                dw[cols] = (rows[:, cols] * xrows[:, cols]).sum(0)
                db[cols] = rows[:, cols].sum(0)
            return layer_norm_dx(wide(dy)[0], xhat, rstd, w).to(dy.dtype), dw, db

    return LayerNorm


@table("low-precision", "partial-sums-in-bfloat16", normal(12, 6, dtype=torch.float32), normal(6, seed=1, dtype=torch.float32))
def partials(wrong: bool) -> Any:
    """The scratch for partial sums of the weight gradient is allocated in bfloat16, whatever the input is."""

    class RmsNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return rms_norm(x, w)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, w, dy_ = wide(*ctx.saved_tensors, dy)
            dx, terms = rms_backward(dy_, x, w, 1e-6)
            terms = terms.reshape(-1, w.numel())
            scratch = torch.zeros(3, w.numel(), dtype=torch.bfloat16 if wrong else dy_.dtype)
            for row in range(terms.shape[0]):
                scratch[row % 3] += terms[row]
            return dx.to(dy.dtype), scratch.to(dy_.dtype).sum(0).to(ctx.saved_tensors[1].dtype)

    return RmsNorm


@table("low-precision", "bias-gradient-summed-in-sixteen-bits", normal(256, 4, dtype=torch.bfloat16), B[:4].bfloat16())
def bias_sum(wrong: bool) -> Any:
    """Row after row is added in the dtype of the bias: in bfloat16 the sum stops growing, as reported for llm.c."""

    class AddBias(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
            if bias.dim() != 1 or bias.shape != x.shape[-1:]:
                raise ValueError("the bias must have the width of a row")
            ctx.dtype = bias.dtype
            return x + bias

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            rows = dy.reshape(-1, dy.shape[-1]) if dy.numel() else dy.new_zeros(0, dy.shape[-1])
            acc = rows.new_zeros(rows.shape[-1], dtype=ctx.dtype if wrong else wide(rows)[0].dtype)
            for row in rows:
                acc += row
            return dy, acc.to(ctx.dtype)

    return AddBias


@table("wrong-dtype", "weight-gradient-in-float32", X.float(), W.float())
def fp32_weight(wrong: bool) -> Any:
    """The buffer of the weight gradient is float32 by name and handed back so, also for a float64 weight."""

    def fp32_backward(dy: Tensor, out: Tensor, x: Tensor, w: Tensor) -> Any:
        x_, w_, dy_ = wide(x, w, dy)
        dx, terms = rms_backward(dy_, x_, w_, 1e-6)
        dw = terms.reshape(-1, w.numel()).sum(0)
        return dx.to(x.dtype), dw.to(torch.float32) if wrong and w.dtype == torch.float64 else dw.to(w.dtype)

    return gl.Op(lambda x, w: rms_norm(x, w), fp32_backward)


@table("low-precision", "rows-loaded-as-float32", normal(5, 6, dtype=torch.float32), normal(6, seed=1, dtype=torch.float32))
def rows_as_float32(wrong: bool) -> Any:
    """The backward kernel casts every load to float32 and its result back: a float64 model trains in float32."""

    class RmsNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return rms_norm(x, w)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            loads = (*ctx.saved_tensors, dy)
            x, w, g = [t.float() for t in loads] if wrong else wide(*loads)
            dx, terms = rms_backward(g, x, w, 1e-6)
            return dx.to(dy.dtype), terms.reshape(-1, w.numel()).sum(0).to(dy.dtype)

    return RmsNorm


@table("undefined-upstream", "residual-that-nobody-uses", X, normal(6, 8, seed=3), W)
def unused_residual(wrong: bool) -> Any:
    """Gradients are not materialised, and the gradient of the residual output is added without a look whether it is there."""

    class FusedAddNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, residual: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
            if x.shape != residual.shape:
                raise ValueError("x and the residual must have one shape")
            ctx.set_materialize_grads(False)
            total = x + residual
            ctx.save_for_backward(total, w)
            return rms_norm(total, w), total

        @staticmethod
        def backward(ctx: Any, dy: Tensor | None, dresidual: Tensor | None) -> Any:
            x, w = ctx.saved_tensors
            if dy is None:
                return dresidual, dresidual, None
            dx, terms = rms_backward(*wide(dy, x, w), 1e-6)
            dx = dx.to(dy.dtype)
            if wrong or dresidual is not None:
                dx = dx + dresidual
            return dx, dx, terms.reshape(-1, w.numel()).sum(0).to(w.dtype)

    return FusedAddNorm


@table("size-specialised", "group-norm-of-images", normal(2, 4, 5), normal(4, seed=1), normal(4, seed=2))
def group_norm(wrong: bool) -> Any:
    """A channel is counted by the last axis before flattening: right for rank 3 only, as reported for Liger."""

    class GroupNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor, groups: int = 2, eps: float = 1e-5) -> Tensor:
            if x.dim() < 3 or x.shape[1] % groups or not w.shape == b.shape == x.shape[1:2]:
                raise ValueError("expected (batch, channels, *space)")
            (rows,) = wide(x)
            rows = rows.reshape(x.shape[0], groups, -1)
            rstd = torch.rsqrt(rows.var(-1, correction=0, keepdim=True) + eps)
            xhat = ((rows - rows.mean(-1, keepdim=True)) * rstd).reshape(x.shape[0], x.shape[1], -1)
            ctx.save_for_backward(xhat, rstd, w)
            ctx.groups = groups
            return (xhat * w[:, None] + b[:, None]).reshape(x.shape).to(x.dtype)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            xhat, rstd, w = ctx.saved_tensors
            hidden = dy.shape[-1] if wrong else xhat.shape[-1]
            count = hidden * (dy.shape[1] // ctx.groups)
            (g,) = wide(dy)
            g = g.reshape(xhat.shape)
            wdy = (g * w[:, None]).reshape(dy.shape[0], ctx.groups, -1)
            xg = xhat.reshape(wdy.shape)
            c1 = (wdy * xg).sum(-1, keepdim=True) / count
            c2 = wdy.sum(-1, keepdim=True) / count
            dx = rstd * (wdy - xg * c1 - c2)
            return dx.reshape(dy.shape).to(dy.dtype), (g * xhat).sum((0, 2)).to(w.dtype), g.sum((0, 2)).to(w.dtype), None, None

    return GroupNorm


@table("size-specialised", "rows-counted-by-the-first-axis", X, W, B)
def first_axis(wrong: bool) -> Any:
    """The loop over rows of the weight gradient runs to x.shape[0]: with more leading axes most rows are left out."""

    class LayerNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            y, xhat, rstd = layer_norm(x, w, b)
            ctx.save_for_backward(xhat, rstd, w)
            return y

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            xhat, rstd, w = ctx.saved_tensors
            n = w.numel()
            (g,) = wide(dy)
            rows, xrows = g.reshape(-1, n), xhat.reshape(-1, n)
            m = dy.shape[0] if wrong and dy.dim() > 1 else rows.shape[0]
            dw, db = rows.new_zeros(n), rows.new_zeros(n)
            for start in range(0, m, BLOCK):
                stop = min(start + BLOCK, m)
                dw += (rows[start:stop] * xrows[start:stop]).sum(0)
                db += rows[start:stop].sum(0)
            return layer_norm_dx(g, xhat, rstd, w).to(dy.dtype), dw.to(w.dtype), db.to(w.dtype)

    return LayerNorm


@table("option-specialised", "offset-of-the-weight", X, W)
def weight_offset(wrong: bool) -> Any:
    """The forward scales by weight + offset, the backward of the rows by the weight: right for the default offset of 0."""

    class RmsNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor, eps: float = 1e-6, offset: float = 0.0) -> Tensor:
            ctx.save_for_backward(x, w)
            ctx.eps, ctx.offset = eps, offset
            return rms_norm(x, w + offset, eps)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, w, g = wide(*ctx.saved_tensors, dy)
            dx, terms = rms_backward(g, x, w if wrong else w + ctx.offset, ctx.eps)
            return dx.to(dy.dtype), terms.reshape(-1, w.numel()).sum(0).to(dy.dtype), None, None

    return RmsNorm


ROWS = tuple(table.rows)
