"""Kernels that nobody built the check against: norms, rotary positions, attention, scans, fused losses and lookups."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from benchmarks.detection_forms import module, operator, pair
from tests.mistakes.registry import Table, normal, whole

table = Table()


@table("size-specialised", "weight-gradient-in-whole-blocks", normal(2, 4, 6), normal(6, seed=1))
def weight_in_blocks(wrong: bool) -> Any:
    """The partial sums of a norm's weight gradient are counted by floor division: rows beyond whole blocks are lost."""
    block = 4

    class RMSNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
            if weight.shape != x.shape[-1:]:
                raise ValueError("one weight per feature")
            rstd = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
            ctx.save_for_backward(x, weight, rstd)
            return x * rstd * weight

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            x, weight, rstd = ctx.saved_tensors
            xhat = x * rstd
            wdy = dy * weight
            dx = rstd * (wdy - xhat * (wdy * xhat).mean(-1, keepdim=True))
            rows = (dy * xhat).reshape(-1, x.shape[-1])
            n = rows.shape[0]
            blocks = n // block if wrong else (n + block - 1) // block
            partial = torch.zeros(blocks, x.shape[-1], dtype=rows.dtype)
            for i in range(blocks):
                partial[i] = rows[i * block : (i + 1) * block].sum(0)
            return dx, partial.sum(0), None

    return RMSNorm


@table("output-gradient-dropped", "residual-stream-of-a-prenorm", normal(4, 6), normal(4, 6, seed=1), normal(6, seed=2))
def residual_stream(wrong: bool) -> Any:
    """A fused add and norm hands the sum on as well, and forgets what comes back along that residual stream."""

    class AddNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, residual: Tensor, weight: Tensor) -> Any:
            if x.shape != residual.shape or weight.shape != x.shape[-1:]:
                raise ValueError("shapes differ")
            total = x + residual
            rstd = torch.rsqrt(total.square().mean(-1, keepdim=True) + 1e-5)
            ctx.save_for_backward(total, weight, rstd)
            return total * rstd * weight, total

        @staticmethod
        def backward(ctx: Any, d_out: Tensor, d_total: Tensor) -> Any:
            total, weight, rstd = ctx.saved_tensors
            xhat = total * rstd
            wdy = d_out * weight
            dx = rstd * (wdy - xhat * (wdy * xhat).mean(-1, keepdim=True))
            if not wrong:
                dx = dx + d_total
            return dx, dx.clone(), (d_out * xhat).flatten(0, -2).sum(0) if xhat.dim() > 1 else d_out * xhat

    return AddNorm


@table("option-specialised", "rotary-offset-of-a-cache", normal(1, 2, 5, 6))
def rotary_offset(wrong: bool) -> Any:
    """Rotary positions start at the length of the cache, but the backward turns back by positions from zero."""

    def turn(x: Tensor, start: int, way: float) -> Tensor:
        if x.shape[-1] % 2:
            raise ValueError("an even number of features")
        half = x.shape[-1] // 2
        first, second = x.chunk(2, dim=-1)
        rate = 100.0 ** (-torch.arange(half, dtype=x.dtype) / half)
        angle = (torch.arange(x.shape[-2], dtype=x.dtype) + start)[:, None] * rate
        cos, sin = angle.cos(), way * angle.sin()
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    class Rotary(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, offset: int = 0) -> Tensor:
            ctx.offset = offset
            return turn(x, offset, 1.0)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            return turn(grad, 0 if wrong else ctx.offset, -1.0), None

    return Rotary


@table("size-specialised", "causal-mask-corner", normal(1, 2, 5, 4), normal(1, 2, 5, 4, seed=1), normal(1, 2, 5, 4, seed=2))
def causal_corner(wrong: bool) -> Any:
    """The causal mask of forward ends in the lower right corner, that of backward begins in the upper left one."""

    def weights(q: Tensor, k: Tensor, diagonal: int) -> Tensor:
        scores = q @ k.mT * q.shape[-1] ** -0.5
        seen = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril(diagonal)
        return scores.masked_fill(~seen, torch.finfo(q.dtype).min).softmax(-1) * seen

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return weights(q, k, k.shape[-2] - q.shape[-2]) @ v

    def rule(g: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Any:
        p = weights(q, k, 0 if wrong else k.shape[-2] - q.shape[-2])
        dp = g @ v.mT
        ds = p * (dp - (dp * p).sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
        return (ds @ k).sum_to_size(q.shape), (ds.mT @ q).sum_to_size(k.shape), (p.mT @ g).sum_to_size(v.shape)

    return module(attention, rule)


@table(
    "sign",
    "sink-logit-of-a-head",
    normal(2, 2, 4, 3),
    normal(2, 2, 4, 3, seed=1),
    normal(2, 2, 4, 3, seed=2),
    normal(2, seed=3),
)
def sink_logit(wrong: bool) -> Any:
    """A learned sink takes part in the softmax of every row and has no value; its gradient lost a minus."""

    def probabilities(q: Tensor, k: Tensor, sink: Tensor) -> tuple[Tensor, Tensor]:
        scores = q @ k.mT * q.shape[-1] ** -0.5
        extra = sink[:, None, None].expand(*scores.shape[:-1], 1)
        p = torch.cat([scores, extra], dim=-1).softmax(-1)
        return p[..., :-1], p[..., -1]

    def attention(q: Tensor, k: Tensor, v: Tensor, sink: Tensor) -> Tensor:
        return probabilities(q, k, sink)[0] @ v

    def rule(g: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor, sink: Tensor) -> Any:
        p, p_sink = probabilities(q, k, sink)
        delta = (g * out).sum(-1)
        ds = p * (g @ v.mT - delta[..., None]) * q.shape[-1] ** -0.5
        d_sink = (p_sink * delta).sum(-1).sum_to_size(sink.shape)
        dq, dk, dv = (ds @ k).sum_to_size(q.shape), (ds.mT @ q).sum_to_size(k.shape), (p.mT @ g).sum_to_size(v.shape)
        return dq, dk, dv, d_sink if wrong else -d_sink

    return pair(attention, rule)


@table("size-specialised", "scan-in-chunks-of-four", normal(2, 4, 3), normal(2, 4, 3, seed=1))
def scan_in_chunks(wrong: bool) -> Any:
    """A linear recurrence is taken back chunk by chunk, and what a chunk sends to the one before it is dropped."""
    chunk = 4

    def states(decay: Tensor, drive: Tensor) -> Tensor:
        if decay.shape != drive.shape:
            raise ValueError("one decay for every input")
        h = torch.zeros_like(drive[:, 0])
        out = []
        for t in range(drive.shape[1]):
            h = decay[:, t] * h + drive[:, t]
            out.append(h)
        return torch.stack(out, dim=1)

    def rule(g: Tensor, h: Tensor, decay: Tensor, drive: Tensor) -> Any:
        d_decay, d_drive = torch.zeros_like(decay), torch.zeros_like(drive)
        length = decay.shape[1]
        carry = torch.zeros_like(g[:, 0])
        for start in reversed(range(0, length, chunk)):
            if wrong:
                carry = torch.zeros_like(carry)
            for t in reversed(range(start, min(start + chunk, length))):
                dh = g[:, t] + carry
                d_drive[:, t] = dh
                if t > 0:
                    d_decay[:, t] = dh * h[:, t - 1]
                carry = dh * decay[:, t]
        return d_decay, d_drive

    return operator(states, rule)


@table("upstream-scalarized", "cross-entropy-per-row-times-one-number", normal(6, 4), normal(5, 4, seed=1), whole(5, 6))
def cross_entropy_rows(wrong: bool) -> Any:
    """A fused linear cross-entropy scales its kept gradients by the first upstream number, also without a reduction."""

    class LinearCrossEntropy(Function):
        @staticmethod
        def forward(ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
            if target.shape != hidden.shape[:-1]:
                raise ValueError("one label per row")
            logits = hidden @ weight.T
            valid = target >= 0
            label = torch.where(valid, target, torch.zeros_like(target))
            loss = logits.logsumexp(-1) - logits.gather(-1, label[:, None])[:, 0]
            d_logits = logits.softmax(-1) - F.one_hot(label, logits.shape[-1])
            ctx.save_for_backward(hidden, weight, torch.where(valid[:, None], d_logits, torch.zeros_like(d_logits)))
            return torch.where(valid, loss, torch.zeros_like(loss))

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            hidden, weight, d_logits = ctx.saved_tensors
            d_logits = d_logits * (grad[0] if wrong else grad[:, None])
            return d_logits @ weight, d_logits.T @ hidden, None

    return LinearCrossEntropy


@table("unwritten-elements", "sorted-runs-of-a-lookup", normal(7, 3), whole(7, 3, 4))
def sorted_runs(wrong: bool) -> Any:
    """The gradient of a lookup sums runs of sorted ids and writes a run when the next begins: the last is not written."""

    def lookup(weight: Tensor, ids: Tensor) -> Tensor:
        return weight[ids]

    def rule(g: Tensor, out: Tensor, weight: Tensor, ids: Tensor) -> Any:
        d_weight = torch.zeros_like(weight)
        rows = g.reshape(-1, *weight.shape[1:])
        flat, order = (ids.flatten() % weight.shape[0]).sort()
        total, current = torch.zeros_like(weight[0]), -1
        for row, place in zip(flat.tolist(), order.tolist(), strict=True):
            if row != current:
                if current >= 0:
                    d_weight[current] = total
                total, current = torch.zeros_like(weight[0]), row
            total = total + rows[place]
        if current >= 0 and not wrong:
            d_weight[current] = total
        return d_weight, None

    return pair(lookup, rule)


@table("mutates-input", "gated-unit-in-its-own-memory", normal(4, 6))
def gated_unit(wrong: bool) -> Any:
    """The backward of a packed gated unit saves memory by writing the gradient over the activations it was given."""

    class SwiGLU(Function):
        @staticmethod
        def forward(ctx: Any, packed: Tensor) -> Tensor:
            if packed.shape[-1] % 2:
                raise ValueError("two halves of one size")
            gate, up = packed.chunk(2, dim=-1)
            ctx.save_for_backward(packed)
            return F.silu(gate) * up

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            (packed,) = ctx.saved_tensors
            gate, up = packed.chunk(2, dim=-1)
            s = torch.sigmoid(gate)
            d_gate, d_up = dy * up * s * (1 + gate * (1 - s)), dy * gate * s
            if not wrong:
                return torch.cat([d_gate, d_up], dim=-1)
            buffer = packed.data
            half = buffer.shape[-1] // 2
            buffer[..., :half] = d_gate
            buffer[..., half:] = d_up
            return buffer

    return SwiGLU


@table("low-precision", "softmax-sum-in-single-precision", normal(2, 3, 5))
def softmax_single(wrong: bool) -> Any:
    """A fused scaled softmax accumulates its backward in single precision, whatever the precision of its input."""

    class ScaledSoftmax(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, scale: float = 0.5) -> Tensor:
            y = torch.softmax(x * scale, dim=-1)
            ctx.scale = scale
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            (y,) = ctx.saved_tensors
            wide = torch.float32 if wrong else torch.promote_types(y.dtype, torch.float32)
            p, g = y.to(wide), dy.to(wide)
            dx = ctx.scale * p * (g - (g * p).sum(-1, keepdim=True))
            return dx.to(y.dtype), None

    return ScaledSoftmax


ROWS = tuple(table.rows)
