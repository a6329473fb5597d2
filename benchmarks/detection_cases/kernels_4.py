"""Row kernels with state, scratch and early exits, wrong on some calls, after reports in public issue trackers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import Function
from torch.library import custom_op

from tests.mistakes.registry import Table, normal, operator_name

table = Table()
PROGRAMS = 4
X, W, B = normal(6, 8), normal(8, seed=1), normal(8, seed=2)


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


@table("epsilon-mismatch", "epsilon-of-the-kernel-launcher", normal(5, 6))
def l2_norm(wrong: bool) -> Any:
    """The launcher of the backward has its own default epsilon, and nobody passes the one of the forward."""

    def launch_backward(dst: Tensor, dy: Tensor, x: Tensor, eps: float = 1e-5) -> None:
        for row in range(x.shape[0]):
            rstd = torch.rsqrt(x[row].square().sum() + eps)
            y = x[row] * rstd
            dst[row] = (dy[row] - y * (dy[row] * y).sum()) * rstd

    class L2Norm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, eps: float = 1e-6) -> Tensor:
            ctx.save_for_backward(x)
            ctx.eps = eps
            (x_,) = wide(x)
            return (x_ * torch.rsqrt(x_.square().sum(-1, keepdim=True) + eps)).to(x.dtype)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, g = wide(*ctx.saved_tensors, dy)
            rows = x.reshape(-1, x.shape[-1]) if x.numel() else x.new_empty(0, 1)
            dx = torch.empty_like(rows)
            launch_backward(dx, g.reshape(rows.shape), rows, *([] if wrong else [ctx.eps]))
            return dx.reshape(dy.shape).to(dy.dtype), None

    return L2Norm


@table("mutates-input", "residual-added-into-the-input", X, normal(6, 8, seed=3), W)
def residual_in_place(wrong: bool) -> Any:
    """The fused kernel stores the sum of input and residual in the input's own memory and does not say so."""

    class FusedAdd(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, residual: Tensor, w: Tensor) -> Tensor:
            if x.shape != residual.shape:
                raise ValueError("x and the residual must have one shape")
            total = x + residual
            if wrong:
                x.data.copy_(total)
            ctx.save_for_backward(total, w)
            return scaled(total, w)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            total, w = ctx.saved_tensors
            dx, terms = scaled_backward(dy, total, w)
            return dx, dx, terms.sum(0).to(w.dtype)

    return FusedAdd


@table("needs-input-grad", "bias-trained-alone", X, W, B)
def frozen_weight(wrong: bool) -> Any:
    """Weight and bias gradients come from one kernel that is launched only if the weight wants one."""

    class Affine(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            if w.dim() != 1 or not w.shape == b.shape == x.shape[-1:]:
                raise ValueError("weight and bias must have the width of a row")
            ctx.save_for_backward(x, w)
            return x * w + b

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, w = ctx.saved_tensors
            dx = dw = db = None
            if ctx.needs_input_grad[0]:
                dx = dy * w
            if ctx.needs_input_grad[1] or (not wrong and ctx.needs_input_grad[2]):
                rows, xrows = (t.reshape(-1, w.numel()) for t in wide(dy, x))
                dw, db = (rows * xrows).sum(0).to(w.dtype), rows.sum(0).to(w.dtype)
            return dx, dw, db

    return Affine


@table("needs-input-grad", "gradients-made-in-the-forward", normal(6, 5), normal(4, 5, seed=1))
def forward_gradients(wrong: bool) -> Any:
    """A fused linear loss makes its gradients in the forward, and none of them where the input is frozen."""

    class FusedLinearSquare(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            if x.dim() != 2:
                raise ValueError("expected rows")
            out = x @ weight.mT
            dx = dw = None
            if x.requires_grad or (weight.requires_grad and not wrong):
                with torch.no_grad():
                    dx, dw = 2 * out @ weight, 2 * out.mT @ x
            ctx.grads = dx, dw
            return out.square().sum()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return tuple(None if grad is None else grad * g for grad in ctx.grads)

    return FusedLinearSquare


@table("unwritten-elements|size-specialised", "partial-sum-of-an-idle-program", normal(8, 5), normal(5, seed=1))
def idle_program(wrong: bool) -> Any:
    """A program that has no rows returns early and leaves its row of the scratch as allocated; the sum adds that row."""

    class Scaled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return scaled(x, w)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, w = ctx.saved_tensors
            dx, terms = scaled_backward(dy, x, w)
            rows = terms.shape[0]
            scratch = torch.empty(PROGRAMS, w.numel(), dtype=terms.dtype)
            rows_per_program = (rows + PROGRAMS - 1) // PROGRAMS
            for pid in range(PROGRAMS):
                start = pid * rows_per_program
                if wrong and start >= rows:
                    break
                scratch[pid] = terms[start : start + rows_per_program].sum(0)
            return dx, scratch.sum(0).to(w.dtype)

    return Scaled


@table("unwritten-elements", "early-exit-without-rows", X, W)
def no_rows(wrong: bool) -> Any:
    """Without rows nothing is launched, and the weight gradient is returned as allocated instead of as zeros."""

    op: Any = custom_op(operator_name("scaled"), scaled, mutates_args=(), schema="(Tensor x, Tensor w) -> Tensor")
    op.register_fake(lambda x, w: torch.empty_like(x))

    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        dw = torch.empty_like(w)
        if x.numel() == 0:
            return torch.zeros_like(x), dw if wrong else dw.zero_()
        dx, terms = scaled_backward(dy, x, w)
        return dx, dw.copy_(terms.sum(0))

    op.register_autograd(backward, setup_context=save_inputs)
    return op


@table("accumulates-across-calls", "scratch-zeroed-once", X, W)
def scratch(wrong: bool) -> Any:
    """The scratch of the weight gradient is kept between calls and zeroed only when it is made."""

    class Scaled(Function):
        workspace: ClassVar[dict[Any, Tensor]] = {}

        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return scaled(x, w)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, w = ctx.saved_tensors
            dx, terms = scaled_backward(dy, x, w)
            key = w.numel(), terms.dtype
            if key not in Scaled.workspace or not wrong:
                Scaled.workspace[key] = torch.zeros(PROGRAMS, w.numel(), dtype=terms.dtype)
            partial = Scaled.workspace[key]
            for row in range(terms.shape[0]):
                partial[row % PROGRAMS] += terms[row]
            return dx, partial.sum(0).to(w.dtype)

    return Scaled


@table("reused-buffer", "weight-gradient-in-the-pool", X, W)
def pooled(wrong: bool) -> Any:
    """The weight gradient is returned in a buffer of a pool, and the next call takes the same buffer."""

    pool: dict[Any, Tensor] = {}

    class Scaled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return scaled(x, w)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, w = ctx.saved_tensors
            dx, terms = scaled_backward(dy, x, w)
            dw = pool.setdefault((w.shape, w.dtype), torch.empty_like(w))
            dw.copy_(terms.sum(0))
            return dx, dw if wrong else dw.clone()

    return Scaled


@table("stale-state", "saved-on-the-class", normal(6, 8))
def saved_on_class(wrong: bool) -> Any:
    """The kernel wrapper keeps the output of the last launch for its backward: two forwards spoil the first."""

    class Exponential(Function):
        last: ClassVar[Tensor | None] = None

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = torch.exp(-x.abs())
            Exponential.last = y.detach()
            ctx.save_for_backward(y, x)
            return y

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            y, x = ctx.saved_tensors
            if wrong and Exponential.last is not None and Exponential.last.shape == y.shape:
                y = Exponential.last
            return -dy * y * x.sign()

    return Exponential


ROWS = tuple(table.rows)
