"""Softmax and dropout kernels whose backward is wrong on some calls, after reports in public issue trackers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from tests.mistakes.registry import Table, normal

table = Table()
BLOCK = 4
SHORT = normal(2, 5, 3), normal(2, 5, 3, seed=1), normal(2, 5, 3, seed=2)


def wide(*tensors: Tensor) -> list[Tensor]:
    """What a kernel accumulates in: float32 for 16 bits, else the tensor's own dtype."""
    return [t.to(torch.promote_types(t.dtype, torch.float32)) for t in tensors]


def same_batch(*tensors: Tensor) -> None:
    """Refuse what a launch over the batch would have to broadcast."""
    if len({t.shape[:-2] for t in tensors}) > 1:
        raise ValueError("the operands must have one batch")


def attention_backward(p: Tensor, do: Tensor, q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, ...]:
    """Gradients of softmax(q kᵀ scale) v from the probabilities."""
    dp = do @ v.mT
    ds = p * (dp - (p * dp).sum(-1, keepdim=True))
    return ds @ k * scale, ds.mT @ q * scale, p.mT @ do


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention as textbooks have it."""
    return torch.softmax(q @ k.mT * q.shape[-1] ** -0.5, -1) @ v


@table("output-gradient-dropped", "gradient-of-the-logsumexp", *SHORT)
def logsumexp_output(wrong: bool) -> Any:
    """Attention that returns its logsumexp too: what flows back into that output is silently dropped."""

    class AttentionWithLse(Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            same_batch(q, k, v)
            q_, k_, v_ = wide(q, k, v)
            s = q_ @ k_.mT * q.shape[-1] ** -0.5
            p = s.softmax(-1)
            ctx.save_for_backward(q, k, v, p)
            return (p @ v_).to(q.dtype), s.logsumexp(-1)

        @staticmethod
        def backward(ctx: Any, do: Tensor, dlse: Tensor) -> Any:
            *saved, p = ctx.saved_tensors
            q, k, v, do_ = wide(*saved, do)
            delta = (do_ * (p @ v)).sum(-1)
            if not wrong:
                delta = delta - dlse
            ds = p * (do_ @ v.mT - delta[..., None]) * q.shape[-1] ** -0.5
            return (ds @ k).to(do.dtype), (ds.mT @ q).to(do.dtype), (p.mT @ do_).to(do.dtype)

    return AttentionWithLse


@table(
    "missing-broadcast-sum",
    "bias-shared-by-the-batch",
    normal(2, 4, 3, 2),
    normal(2, 4, 3, 2, seed=1),
    normal(1, 4, 3, 3, seed=2),
)
def shared_bias(wrong: bool) -> Any:
    """Each program stores its gradient of a bias that the batch shares: the last one overwrites the others."""

    class BiasedScores(Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
            same_batch(q, k)
            if q.dim() != 4 or bias.dim() != 4 or any(b not in (1, n) for b, n in zip(bias.shape, q.shape[:2], strict=False)):
                raise ValueError("the bias must have the batch and heads of q, or one")
            p = torch.softmax(q @ k.mT + bias, -1)
            ctx.save_for_backward(q, k, p)
            ctx.bias_shape = bias.shape
            return p

        @staticmethod
        def backward(ctx: Any, dp: Tensor) -> Any:
            q, k, p = ctx.saved_tensors
            ds = p * (dp - (p * dp).sum(-1, keepdim=True))
            db = ds.new_zeros(ctx.bias_shape).expand(-1, -1, *ds.shape[-2:]).clone()
            for b in range(ds.shape[0]):
                for h in range(ds.shape[1]):
                    slot = b % db.shape[0], h % db.shape[1]
                    db[slot] = ds[b, h] if wrong else db[slot] + ds[b, h]
            return ds @ k, ds.mT @ q, db.sum_to_size(ctx.bias_shape)

    return BiasedScores


@table("mutates-grad-output", "softmax-into-the-incoming-gradient", normal(2, 3, 5))
def fused_softmax(wrong: bool) -> Any:
    """The fused softmax passes the incoming gradient as its output buffer and overwrites it, as reported for apex."""

    def launch(dst: Tensor, grad: Tensor, y: Tensor, scale: float) -> None:
        dst, grad, y = (t.unsqueeze(0).flatten(0, -2) for t in (dst, grad, y))
        for row in range(y.shape[0]):
            g, o = grad[row], y[row]
            dst[row] = scale * o * (g - (g * o).sum())

    class ScaledSoftmax(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, scale: float = 0.5) -> Tensor:
            y = torch.softmax(x * scale, -1)
            ctx.save_for_backward(y)
            ctx.scale = scale
            return y

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (y,) = ctx.saved_tensors
            grad_output = grad_output.contiguous()
            grad_input = grad_output if wrong else torch.empty_like(grad_output)
            launch(grad_input, grad_output, y, ctx.scale)
            return grad_input, None

    return ScaledSoftmax


@table("mutates-saved", "probabilities-scaled-in-place", normal(2, 4, 4), normal(2, 4, 3, seed=1))
def in_place_probabilities(wrong: bool) -> Any:
    """The backward turns the kept probabilities into the gradient of the scores in place: a second one starts from those."""

    class Mixing(Function):
        @staticmethod
        def forward(ctx: Any, s: Tensor, v: Tensor) -> Tensor:
            same_batch(s, v)
            p = torch.softmax(s, -1)
            ctx.probs, ctx.values = p.detach(), v.detach()
            return p @ v

        @staticmethod
        def backward(ctx: Any, do: Tensor) -> Any:
            p, v = ctx.probs, ctx.values
            dv = p.mT @ do
            dp = do @ v.mT
            dp = dp - (p * dp).sum(-1, keepdim=True)
            return p.mul_(dp) if wrong else p * dp, dv

    return Mixing


@table("input-layout", "values-by-the-strides-of-the-keys", *SHORT)
def key_strides(wrong: bool) -> Any:
    """The kernel walks v by the strides of k, which holds while both are views of the same layout."""

    class Attention(Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            same_batch(q, k, v)
            ctx.save_for_backward(q, k, v)
            return plain_attention(q, k, v)

        @staticmethod
        def backward(ctx: Any, do: Tensor) -> Any:
            q, k, v = ctx.saved_tensors
            if wrong and v.shape == k.shape:
                v = v.as_strided(v.shape, k.stride(), v.storage_offset())
            scale = q.shape[-1] ** -0.5
            return attention_backward(torch.softmax(q @ k.mT * scale, -1), do, q, k, v, scale)

    return Attention


@table("random-replay|size-specialised", "offset-of-the-random-stream", normal(1, 3, 4, 5))
def philox_offset(wrong: bool) -> Any:
    """Forward and backward number the streams of batch and head in another order: equal for one batch or one head."""

    class HeadDropout(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, p: float = 0.25) -> Tensor:
            ctx.seed, ctx.p = int(torch.randint(2**31, ())), p
            return x * HeadDropout.mask(x, ctx.seed, p, x.shape[1], 1)

        @staticmethod
        def mask(x: Tensor, seed: int, p: float, stride_b: int, stride_h: int) -> Tensor:
            mask = torch.empty_like(x)
            for b in range(x.shape[0]):
                for h in range(x.shape[1]):
                    stream = torch.Generator().manual_seed(seed + b * stride_b + h * stride_h)
                    keep = torch.rand(x.shape[2:], generator=stream) >= p
                    mask[b, h] = keep.to(x.dtype) / max(1 - p, 1e-6)
            return mask

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            strides = (1, dy.shape[0]) if wrong else (dy.shape[1], 1)
            return dy * HeadDropout.mask(dy, ctx.seed, ctx.p, *strides), None

    return HeadDropout


@table("random-replay", "dropout-drawn-by-other-blocks", normal(4, 6))
def dropout_blocks(wrong: bool) -> Any:
    """The mask is drawn again in the backward, but in blocks of another size, so from other numbers of the stream."""

    def keep(numel: int, seed: int, block: int) -> Tensor:
        mask = torch.empty(numel, dtype=torch.bool)
        for pid, start in enumerate(range(0, numel, block)):
            size = min(block, numel - start)
            mask[start : start + size] = torch.rand(size, generator=torch.Generator().manual_seed(seed + pid)) > 0.5
        return mask

    class SeededDropout(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.seed = int(torch.randint(2**31, ()))
            return torch.where(keep(x.numel(), ctx.seed, 2 * BLOCK).view(x.shape), 2 * x, 0)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            block = BLOCK if wrong else 2 * BLOCK
            return torch.where(keep(dy.numel(), ctx.seed, block).view(dy.shape), 2 * dy, 0)

    return SeededDropout


ROWS = tuple(table.rows)
