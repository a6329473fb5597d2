"""Attention and softmax kernels whose backward is wrong somewhere, after reports in public issue trackers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.library import custom_op

import gradcheck_lab as gl
from tests.mistakes.registry import Table, normal, operator_name

table = Table()
BLOCK = 4


def wide(*tensors: Tensor) -> list[Tensor]:
    """What a kernel accumulates in: float32 for 16 bits, else the tensor's own dtype."""
    return [t.to(torch.promote_types(t.dtype, torch.float32)) for t in tensors]


def same_batch(*tensors: Tensor) -> None:
    """Refuse what a launch over the batch would have to broadcast."""
    if len({t.shape[:-2] for t in tensors}) > 1:
        raise ValueError("q, k and v must have one batch")


def grouped_heads(q: Tensor, k: Tensor, v: Tensor) -> tuple[int, int]:
    """The numbers of query and key heads of (batch, heads, length, width)."""
    if q.dim() != 4 or k.shape[:2] != v.shape[:2] or q.shape[0] != k.shape[0]:
        raise ValueError("expected (batch, heads, length, width)")
    return q.shape[1], k.shape[1]


def probabilities(s: Tensor, keep: Tensor) -> Tensor:
    """Softmax over the kept keys; a row that keeps none is zero."""
    return s.masked_fill(~keep, torch.finfo(s.dtype).min).softmax(-1) * keep


def attention_backward(p: Tensor, do: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, ...]:
    """Gradients of softmax(q kᵀ scale) v from the probabilities."""
    dp = do @ v.mT
    ds = p * (dp - (p * dp).sum(-1, keepdim=True))
    return ds @ k * scale, ds.mT @ q * scale, p.mT @ do


SHORT = normal(2, 5, 3), normal(2, 5, 3, seed=1), normal(2, 5, 3, seed=2)


@table("size-specialised", "causal-attention-of-other-lengths", *SHORT)
def causal_lengths(wrong: bool) -> Any:
    """The forward aligns the causal mask to the bottom right corner, the backward to the top left: equal for equal lengths."""

    class CausalAttention(Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            same_batch(q, k, v)
            ctx.save_for_backward(q, k, v)
            n, m = q.shape[-2], k.shape[-2]
            q_, k_, v_ = wide(q, k, v)
            keep = torch.ones(n, m, dtype=torch.bool).tril(m - n)
            return (probabilities(q_ @ k_.mT * q.shape[-1] ** -0.5, keep) @ v_).to(q.dtype)

        @staticmethod
        def backward(ctx: Any, do: Tensor) -> Any:
            q, k, v, do_ = wide(*ctx.saved_tensors, do)
            scale = q.shape[-1] ** -0.5
            seqlen_q, seqlen_k = q.shape[-2], k.shape[-2]
            rows, cols = torch.arange(seqlen_q)[:, None], torch.arange(seqlen_k)[None]
            keep = cols <= rows if wrong else cols <= rows + seqlen_k - seqlen_q
            p = probabilities(q @ k.mT * scale, keep)
            return tuple(t.to(do.dtype) for t in attention_backward(p, do_, q, k, v, scale))

    return CausalAttention


@table("option-specialised", "softcap-with-a-window", *SHORT)
def softcap_window(wrong: bool) -> Any:
    """The windowed kernel has no derivative of the soft cap: each of the two options alone is right."""

    class WindowAttention(Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, softcap: float = 0.0, window: int = -1) -> Tensor:
            same_batch(q, k, v)
            ctx.save_for_backward(q, k, v)
            ctx.softcap, ctx.window = softcap, window
            q_, k_, v_ = wide(q, k, v)
            s = q_ @ k_.mT * q.shape[-1] ** -0.5
            if softcap > 0:
                s = softcap * torch.tanh(s / softcap)
            return (probabilities(s, WindowAttention.mask(s, window)) @ v_).to(q.dtype)

        @staticmethod
        def mask(s: Tensor, window: int) -> Tensor:
            distance = torch.arange(s.shape[-2])[:, None] - torch.arange(s.shape[-1])[None]
            return distance.abs() <= window if window >= 0 else torch.ones_like(distance, dtype=torch.bool)

        @staticmethod
        def backward(ctx: Any, do: Tensor) -> Any:
            q, k, v, do_ = wide(*ctx.saved_tensors, do)
            scale = q.shape[-1] ** -0.5
            s = q @ k.mT * scale
            slope = torch.ones_like(s)
            if ctx.softcap > 0:
                capped = torch.tanh(s / ctx.softcap)
                s = ctx.softcap * capped
                if not wrong or ctx.window < 0:
                    slope = 1 - capped.square()
            p = probabilities(s, WindowAttention.mask(s, ctx.window))
            dp = do_ @ v.mT
            ds = p * (dp - (p * dp).sum(-1, keepdim=True)) * slope * scale
            return (ds @ k).to(do.dtype), (ds.mT @ q).to(do.dtype), (p.mT @ do_).to(do.dtype), None, None

    return WindowAttention


@table("size-specialised", "scale-from-the-width-of-the-values", *SHORT)
def value_width(wrong: bool) -> Any:
    """The backward takes its default scale from the head width of v, which may differ from that of q."""

    class Attention(Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
            same_batch(q, k, v)
            ctx.save_for_backward(q, k, v)
            ctx.scale = scale
            q_, k_, v_ = wide(q, k, v)
            sm_scale = q.shape[-1] ** -0.5 if scale is None else scale
            return (torch.softmax(q_ @ k_.mT * sm_scale, -1) @ v_).to(q.dtype)

        @staticmethod
        def backward(ctx: Any, do: Tensor) -> Any:
            q, k, v, do_ = wide(*ctx.saved_tensors, do)
            sm_scale = ctx.scale
            if sm_scale is None:
                sm_scale = (v if wrong else q).shape[-1] ** -0.5
            p = torch.softmax(q @ k.mT * sm_scale, -1)
            return *(t.to(do.dtype) for t in attention_backward(p, do_, q, k, v, sm_scale)), None

    return Attention


GROUPED = normal(2, 4, 3, 2), normal(2, 2, 3, 2, seed=1), normal(2, 2, 3, 2, seed=2)


@table("size-specialised", "interleaved-query-heads", *GROUPED)
def interleaved_heads(wrong: bool) -> Any:
    """The flat index of a query head is split by the number of shared heads, not of key heads: right if the two are equal."""

    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads, kv_heads = grouped_heads(q, k, v)
        if heads % kv_heads:
            raise ValueError("query heads must be a multiple of key heads")
        kv = torch.arange(heads) % kv_heads
        return torch.softmax(q @ k[:, kv].mT * q.shape[-1] ** -0.5, -1) @ v[:, kv]

    def interleaved_backward(do: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Any:
        heads, kv_heads = q.shape[1], k.shape[1]
        share, scale = heads // kv_heads, q.shape[-1] ** -0.5
        dq = torch.empty_like(q)
        dk = torch.empty(q.shape[0], heads, *k.shape[2:], dtype=k.dtype)
        dv = torch.empty(q.shape[0], heads, *v.shape[2:], dtype=v.dtype)
        for head in range(heads):
            kv = head % kv_heads
            p = torch.softmax(q[:, head] @ k[:, kv].mT * scale, -1)
            slot = head % share * kv_heads + head // share if wrong else kv * share + head // kv_heads
            dq[:, head], dk[:, slot], dv[:, slot] = attention_backward(p, do[:, head], q[:, head], k[:, kv], v[:, kv], scale)
        return dq, dk.unflatten(1, (kv_heads, share)).sum(2), dv.unflatten(1, (kv_heads, share)).sum(2)

    return gl.Op(forward, interleaved_backward)


@table("size-specialised", "heads-that-do-not-divide", *GROUPED)
def uneven_heads(wrong: bool) -> Any:
    """The head of the keys is found by a rounded group size: right only where the heads divide."""

    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads, kv_heads = grouped_heads(q, k, v)
        kv = torch.arange(heads) * kv_heads // max(heads, 1)
        return torch.softmax(q @ k[:, kv].mT * q.shape[-1] ** -0.5, -1) @ v[:, kv]

    def uneven_backward(do: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Any:
        heads, kv_heads = q.shape[1], k.shape[1]
        scale = q.shape[-1] ** -0.5
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        group = max(heads // max(kv_heads, 1), 1)
        for head in range(heads):
            kv = min(head // group, kv_heads - 1) if wrong else head * kv_heads // heads
            shared = head * kv_heads // heads
            p = torch.softmax(q[:, head] @ k[:, shared].mT * scale, -1)
            dq[:, head], dk_head, dv_head = attention_backward(p, do[:, head], q[:, head], k[:, shared], v[:, shared], scale)
            dk[:, kv] += dk_head
            dv[:, kv] += dv_head
        return dq, dk, dv

    return gl.Op(forward, uneven_backward)


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention as textbooks have it."""
    return torch.softmax(q @ k.mT * q.shape[-1] ** -0.5, -1) @ v


@table(
    "forward-mismatch",
    "keys-of-the-last-block",
    normal(2, 5, 3),
    normal(2, 8, 3, seed=1),
    normal(2, 8, 3, seed=2),
    reference=plain_attention,
)
def padded_keys(wrong: bool) -> Any:
    """The keys that pad the last block are not masked: scores of zero enter the denominator, at a tail only."""

    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        same_batch(q, k, v)
        m = k.shape[-2]
        tail = -m % BLOCK
        k, v = (torch.nn.functional.pad(t, (0, 0, 0, tail)) for t in (k, v))
        s = q @ k.mT * q.shape[-1] ** -0.5
        if tail and not wrong:
            s = s.masked_fill(torch.arange(m + tail) >= m, -torch.inf)
        return torch.softmax(s, -1) @ v

    def padded_backward(do: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Any:
        scale = q.shape[-1] ** -0.5
        return attention_backward(torch.softmax(q @ k.mT * scale, -1), do, q, k, v, scale)

    return gl.Op(forward, padded_backward)


@table("forward-mismatch", "softmax-without-a-maximum", normal(4, 6), reference=lambda x: torch.softmax(x, -1))
def online_softmax(wrong: bool) -> Any:
    """The blocks of an online softmax do not carry the running maximum: large scores overflow in the forward."""

    def softmax(x: Tensor) -> Tensor:
        if x.shape[-1] == 0:
            return x.clone()
        top = torch.zeros_like(x[..., :1]) if wrong else x[..., :BLOCK].amax(-1, keepdim=True)
        total = torch.zeros_like(top)
        for start in range(0, x.shape[-1], BLOCK):
            block = x[..., start : start + BLOCK]
            new = top if wrong else torch.maximum(top, block.amax(-1, keepdim=True))
            total = total * (top - new).exp() + (block - new).exp().sum(-1, keepdim=True)
            top = new
        return (x - top).exp() / total

    op: Any = custom_op(operator_name("online_softmax"), softmax, mutates_args=(), schema="(Tensor x) -> Tensor")
    op.register_fake(torch.empty_like)

    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(output)

    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return y * (dy - (dy * y).sum(-1, keepdim=True))

    op.register_autograd(backward, setup_context=setup_context)
    return op


ROWS = tuple(table.rows)
