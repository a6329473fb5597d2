"""Kernels of losses, activations and rotary embeddings that are wrong on some calls, after reports in public issue trackers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.library import custom_op
from torch.nn import functional as F

from tests.mistakes.registry import Table, normal, operator_name

table = Table()


def wide(*tensors: Tensor) -> list[Tensor]:
    """What a kernel accumulates in: float32 for 16 bits, else the tensor's own dtype."""
    return [t.to(torch.promote_types(t.dtype, torch.float32)) for t in tensors]


@table("option-specialised", "smoothing-of-ignored-rows", normal(5, 4), torch.tensor([1, 3, -100, 0, 2]))
def ignored_smoothing(wrong: bool) -> Any:
    """A row whose target is ignored is skipped only without label smoothing; with it, the smooth part gets a gradient."""

    class CrossEntropy(Function):
        @staticmethod
        def forward(ctx: Any, logits: Tensor, target: Tensor, ignore_index: int = -100, label_smoothing: float = 0.0) -> Tensor:
            logp = torch.log_softmax(wide(logits)[0], -1)
            valid = target != ignore_index
            label = torch.where(valid, target, 0).unsqueeze(-1)
            count = valid.sum().clamp(min=1)
            rows = -(1 - label_smoothing) * logp.gather(-1, label).squeeze(-1) - label_smoothing * logp.mean(-1)
            ctx.save_for_backward(logp, label, valid, count)
            ctx.smoothing = label_smoothing
            return (torch.where(valid, rows, 0).sum() / count).to(logits.dtype)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            logp, label, valid, count = ctx.saved_tensors
            eps = ctx.smoothing
            dx = torch.empty_like(logp)
            for row in range(dx.shape[0]):
                if not valid[row] and (eps == 0 or not wrong):
                    dx[row] = 0
                    continue
                p = logp[row].exp()
                dx[row] = eps * (p - 1 / p.numel())
                if valid[row]:
                    dx[row] += (1 - eps) * p
                    dx[row, label[row]] -= 1 - eps
            return (dx * (g.to(dx.dtype) / count)).to(g.dtype), None, None, None

    return CrossEntropy


@table("option-specialised|upstream-scalarized", "gradient-read-as-a-number", normal(5, 4), torch.sigmoid(normal(5, 4, seed=1)))
def one_number(wrong: bool) -> Any:
    """The incoming gradient is read as one number, as it is for a mean; with reduction="none" only its first element counts."""

    class BinaryCrossEntropy(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
            if x.shape != target.shape:
                raise ValueError("expected a target for each logit")
            ctx.save_for_backward(x, target)
            ctx.scale = 1 / max(x.numel(), 1) if reduction == "mean" else 1
            return F.binary_cross_entropy_with_logits(x, target, reduction=reduction)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, target = ctx.saved_tensors
            if wrong and g.numel():
                g = g.reshape(-1)[0]
            g = g * ctx.scale
            return g * (torch.sigmoid(x) - target), -g * x, None

    return BinaryCrossEntropy


@table("mutates-saved", "kept-gradient-scaled-in-place", normal(5, 4), normal(5, 4, seed=1))
def kept_gradient(wrong: bool) -> Any:
    """The loss makes its gradient in the forward, and the backward multiplies it in place by what comes in."""

    class SmoothLoss(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, target: Tensor) -> Tensor:
            if x.shape != target.shape:
                raise ValueError("expected a target for each value")
            diff = x - target
            ctx.grad = (torch.tanh(diff) / max(diff.numel(), 1)).detach()
            distance = diff.abs()
            loss = distance + torch.log1p(torch.exp(-2 * distance))
            return loss.mean() if loss.numel() else loss.sum()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            dx = ctx.grad.mul_(g) if wrong else ctx.grad * g
            return dx, -dx

    return SmoothLoss


@table("mutates-input", "gate-overwritten-by-its-gradient", normal(4, 6), normal(4, 6, seed=1))
def swiglu(wrong: bool) -> Any:
    """The backward stores both gradients where gate and value lie, to save memory, as reported for Liger."""

    class SwiGlu(Function):
        @staticmethod
        def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
            if gate.shape != up.shape:
                raise ValueError("expected gate and value of one shape")
            ctx.save_for_backward(gate, up)
            return F.silu(gate) * up

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            gate, up = ctx.saved_tensors
            s = torch.sigmoid(gate)
            dgate = dy * up * s * (1 + gate * (1 - s))
            dup = dy * gate * s
            if wrong:
                gate.data.copy_(dgate)
                up.data.copy_(dup)
            return dgate, dup

    return SwiGlu


@table("option-specialised", "other-form-of-an-activation", normal(5, 4))
def gelu(wrong: bool) -> Any:
    """The option approximate chooses the forward; the backward is that of the exact form either way."""

    class Gelu(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, approximate: str = "none") -> Tensor:
            ctx.save_for_backward(x)
            ctx.approximate = approximate
            return F.gelu(x, approximate=approximate)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            x, g = wide(x, dy)
            if ctx.approximate == "tanh" and not wrong:
                c = math.sqrt(2 / math.pi)
                t = torch.tanh(c * (x + 0.044715 * x**3))
                slope = 0.5 * (1 + t) + 0.5 * x * (1 - t) * (1 + t) * c * (1 + 3 * 0.044715 * x.square())
            else:
                slope = 0.5 * torch.erfc(-x / math.sqrt(2)) + x * torch.exp(-0.5 * x.square()) / math.sqrt(2 * math.pi)
            return (g * slope).to(dy.dtype), None

    return Gelu


@table("overflow|non-finite", "softplus-by-one-exponential", normal(5, 4))
def softplus(wrong: bool) -> Any:
    """The forward has a threshold above which it is linear; the backward computes e / (1 + e) everywhere."""

    def forward(x: Tensor) -> Tensor:
        return F.softplus(x)

    op: Any = custom_op(operator_name("softplus"), forward, mutates_args=(), schema="(Tensor x) -> Tensor")
    op.register_fake(torch.empty_like)

    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if wrong:
            e = x.exp()
            return dy * e / (1 + e)
        return torch.where(x > 20, dy, dy * torch.sigmoid(x))

    op.register_autograd(backward, setup_context=setup_context)
    return op


def angles(length: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of position times frequency."""
    frequency = 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) * 2 / max(width, 1))
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


@table("option-specialised", "pairs-of-a-rotary-embedding", normal(2, 5, 6))
def rotary_pairs(wrong: bool) -> Any:
    """The forward may pair neighbours instead of halves; the backward turns halves back in both cases."""

    def rotate(x: Tensor, interleaved: bool, sign: int) -> Tensor:
        cos, sin = angles(x.shape[-2], x.shape[-1], wide(x)[0])
        a, b = (x[..., ::2], x[..., 1::2]) if interleaved else x.chunk(2, -1)
        turned = a * cos - sign * b * sin, b * cos + sign * a * sin
        out = torch.stack(turned, -1).flatten(-2) if interleaved else torch.cat(turned, -1)
        return out.to(x.dtype)

    class Rotary(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, interleaved: bool = False) -> Tensor:
            if x.dim() < 2 or x.shape[-1] % 2 or not x.numel():
                raise ValueError("expected (*batch, length, even width)")
            ctx.interleaved = interleaved
            return rotate(x, interleaved, 1)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            return rotate(dy, ctx.interleaved and not wrong, -1), None

    return Rotary


@table("unwritten-elements", "part-that-is-not-rotated", normal(2, 5, 4))
def rotary_part(wrong: bool) -> Any:
    """Only the first four channels turn; of a wider head the rest is passed through, and its gradient never written."""

    class PartialRotary(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, rotary_dim: int = 4) -> Tensor:
            if x.dim() < 2 or x.shape[-1] < rotary_dim or rotary_dim % 2:
                raise ValueError("expected (*batch, length, width of at least rotary_dim)")
            ctx.half = rotary_dim // 2
            cos, sin = angles(x.shape[-2], rotary_dim, x)
            a, b, rest = x[..., : ctx.half], x[..., ctx.half : rotary_dim], x[..., rotary_dim:]
            return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], -1)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            half = ctx.half
            cos, sin = angles(dy.shape[-2], 2 * half, dy)
            a, b = dy[..., :half], dy[..., half : 2 * half]
            dx = torch.empty_like(dy, memory_format=torch.contiguous_format)
            dx[..., :half] = a * cos + b * sin
            dx[..., half : 2 * half] = b * cos - a * sin
            if not wrong:
                dx[..., 2 * half :] = dy[..., 2 * half :]
            return dx, None

    return PartialRotary


ROWS = tuple(table.rows)
