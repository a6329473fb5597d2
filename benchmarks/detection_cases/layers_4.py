"""Wrong and sound backwards of attention, activation and dropout layers, and of layers that keep buffers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.library import custom_op

from tests.mistakes.registry import Table, array, normal, operator_name

table = Table()


@table(
    "non-finite|size-specialised",
    "causal-attention-to-the-right",
    normal(2, 4, 3),
    normal(2, 4, 3, seed=1),
    normal(2, 4, 3, seed=2),
)
def causal_attention(wrong: bool) -> Any:
    """As in flash attention: with more queries than keys the first rows see nothing, and the backward has NaN there."""

    class CausalAttention(Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            assert q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
            rows, columns = q.shape[-2], k.shape[-2]
            seen = torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows)
            scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~seen, -math.inf)
            lse = torch.logsumexp(scores, -1, keepdim=True)
            p = torch.exp(scores - torch.where(torch.isinf(lse), 0.0, lse))
            ctx.save_for_backward(q, k, v, scores, lse)
            return p @ v

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            q, k, v, scores, lse = ctx.saved_tensors
            p = torch.exp(scores - (lse if wrong else torch.where(torch.isinf(lse), 0.0, lse)))
            dp = g @ v.mT
            ds = p * (dp - (dp * p).sum(-1, keepdim=True)) / math.sqrt(q.shape[-1])
            return ds @ k, ds.mT @ q, p.mT @ g

    return CausalAttention


@table("constant-factor", "attention-heads", normal(2, 5, 6))
def attention_heads(wrong: bool) -> Any:
    """The queries' gradient has the scale, the keys' has not."""

    class Core(Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            p = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)
            ctx.save_for_backward(q, k, v, p)
            return p @ v

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            q, k, v, p = ctx.saved_tensors
            scale = 1 / math.sqrt(q.shape[-1])
            dp = g @ v.mT
            ds = p * (dp - (dp * p).sum(-1, keepdim=True))
            return scale * ds @ k, (ds.mT @ q) * (1 if wrong else scale), p.mT @ g

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads, self.qkv = 2, nn.Linear(6, 18, dtype=torch.float64)
            self.qkv.weight.data, self.qkv.bias.data = normal(18, 6, seed=1), normal(18, seed=2)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).transpose(1, 3).unbind(2)
            return Core.apply(q, k, v).transpose(1, 2).flatten(-2)

    return Attention()


@table(
    "size-specialised", "attention-with-shared-keys", normal(2, 2, 3, 4), normal(2, 2, 3, 4, seed=1), normal(2, 2, 3, 4, seed=2)
)
def shared_keys(wrong: bool) -> Any:
    """Query heads may share keys and values; the backward gives the shared ones the first query head's gradient alone."""

    class GroupedAttention(Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            assert q.shape[1] % k.shape[1] == 0
            assert q.shape[0] == k.shape[0] == v.shape[0]
            assert k.shape[1] == v.shape[1]
            repeats = q.shape[1] // k.shape[1]
            wide_k, wide_v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
            p = torch.softmax(q @ wide_k.mT / math.sqrt(q.shape[-1]), -1)
            ctx.save_for_backward(q, wide_k, wide_v, p)
            ctx.repeats = repeats
            return p @ wide_v

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            q, k, v, p = ctx.saved_tensors
            dp = g @ v.mT
            ds = p * (dp - (dp * p).sum(-1, keepdim=True)) / math.sqrt(q.shape[-1])
            dk, dv = ds.mT @ q, p.mT @ g
            if wrong:
                return ds @ k, dk[:, :: ctx.repeats], dv[:, :: ctx.repeats]
            groups = (k.shape[1] // ctx.repeats, ctx.repeats)
            return ds @ k, dk.unflatten(1, groups).sum(2), dv.unflatten(1, groups).sum(2)

    return GroupedAttention


@table("mutates-grad-output", "fused-scaled-softmax", normal(2, 3, 4))
def fused_softmax(wrong: bool) -> Any:
    """As reported for apex: the fused kernel writes its result over the upstream gradient."""

    class ScaledSoftmax(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, scale: float = 0.5) -> Tensor:
            p = torch.softmax(scale * x, -1)
            ctx.save_for_backward(p)
            ctx.scale = scale
            return p

        @staticmethod
        def backward(ctx: Any, output_grads: Tensor) -> Any:
            (p,) = ctx.saved_tensors
            inner = (output_grads * p).sum(-1, keepdim=True)
            grads = output_grads if wrong else output_grads.clone()
            return grads.sub_(inner).mul_(p).mul_(ctx.scale), None

    return ScaledSoftmax


@table("constant-factor", "course-dropout", array(4, 5))
def course_dropout(wrong: bool) -> Any:
    """As asked in the course's forum: the forward divides by the share that is kept, the backward only masks."""

    def dropout_forward(A: Any, keep_prob: float = 0.8) -> Any:
        D = np.random.rand(*A.shape) < keep_prob
        return A * D / keep_prob, (D, keep_prob)

    def dropout_backward(dA: Any, cache: Any) -> Any:
        D, keep_prob = cache
        return dA * D if wrong else dA * D / keep_prob

    return dropout_forward, dropout_backward


@table("mode-mismatch", "dropout-in-the-test-pass", array(4, 5))
def test_dropout(wrong: bool) -> Any:
    """The test pass scales by the share that is kept, its backward still uses a mask."""

    class Dropout:
        def __init__(self) -> None:
            self.dropout_ratio = 0.4
            self.mask: Any = None

        def forward(self, x: Any, train_flg: bool = True) -> Any:
            if train_flg:
                self.mask = np.random.rand(*x.shape) > self.dropout_ratio
                return x * self.mask
            self.mask = np.ones(x.shape, dtype=bool) if wrong else np.full(x.shape, 1.0 - self.dropout_ratio)
            return x * (1.0 - self.dropout_ratio)

        def backward(self, dout: Any) -> Any:
            return dout * self.mask

    return Dropout()


@table("random-replay", "attention-weights-with-dropout", normal(3, 4, 5))
def weights_dropout(wrong: bool) -> Any:
    """The backward draws its own mask where it had to use the forward's."""

    class DropoutSoftmax(Function):
        @staticmethod
        def forward(ctx: Any, scores: Tensor) -> Tensor:
            p = torch.softmax(scores, -1)
            keep = torch.rand_like(p) < 0.7
            ctx.save_for_backward(p, keep)
            return p * keep / 0.7

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            p, keep = ctx.saved_tensors
            if wrong:
                keep = torch.rand_like(p) < 0.7
            dp = g * keep / 0.7
            return p * (dp - (dp * p).sum(-1, keepdim=True))

    return DropoutSoftmax


@table("mutates-grad-output", "residual-block-with-a-masking-relu", array(4, 3))
def residual_block(wrong: bool) -> Any:
    """The relu blanks the upstream gradient that the shortcut still needs."""

    class Relu:
        def forward(self, x: Any) -> Any:
            self.mask = x <= 0
            return np.maximum(x, 0)

        def backward(self, dout: Any) -> Any:
            dx = dout if wrong else dout.copy()
            dx[self.mask] = 0
            return dx

    class ResidualBlock:
        def __init__(self) -> None:
            self.W, self.dW, self.relu = array(3, 3, seed=1), None, Relu()

        def forward(self, x: Any) -> Any:
            assert x.ndim == 2
            self.x = x
            return x + self.relu.forward(x @ self.W)

        def backward(self, dout: Any) -> Any:
            da = self.relu.backward(dout)
            self.dW = self.x.T @ da
            return da @ self.W.T + dout

    return ResidualBlock()


@table("reused-buffer", "affine-layer-with-its-own-workspace", array(5, 3))
def workspace(wrong: bool) -> Any:
    """The input's gradient is written to an array that the layer keeps, and the next backward overwrites it."""

    class Affine:
        def __init__(self) -> None:
            self.W, self.b = array(3, 4, seed=1), array(4, seed=2)
            self.dW, self.db, self.workspace = np.zeros((3, 4)), np.zeros(4), np.zeros((0, 3))

        def forward(self, x: Any) -> Any:
            assert x.ndim == 2
            self.x = x
            return x @ self.W + self.b

        def backward(self, dout: Any) -> Any:
            self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
            if self.workspace.shape != self.x.shape or not wrong:
                self.workspace = np.zeros(self.x.shape)
            self.workspace[...] = dout @ self.W.T
            return self.workspace

    return Affine()


@table("accumulates-across-calls", "strided-windows-added-to-a-buffer", normal(2, 7))
def added_windows(wrong: bool) -> Any:
    """The windows' gradients are added to a buffer of the layer that is made once for each size and never blanked."""

    class Smooth:
        def __init__(self) -> None:
            self.kernel, self.buffer = torch.tensor([0.25, 0.5, 0.3], dtype=torch.float64), torch.zeros(0)

        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            return x.unfold(-1, 3, 2) @ self.kernel

        def backward(self, dout: Tensor) -> Tensor:
            self.dkernel = (self.x.unfold(-1, 3, 2) * dout.unsqueeze(-1)).reshape(-1, 3).sum(0)
            if self.buffer.shape != self.x.shape or not wrong:
                self.buffer = torch.zeros(self.x.shape, dtype=dout.dtype)
            for i in range(3):
                self.buffer[..., i : i + 2 * dout.shape[-1] - 1 : 2] += dout * self.kernel[i]
            return self.buffer.clone()

    return Smooth()


@table("epsilon-mismatch", "error-function-unit-with-a-tanh", normal(5, 4))
def gelu(wrong: bool) -> Any:
    """The forward uses the error function, the backward differentiates the tanh approximation of it."""

    def gelu_forward(x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))

    made: Any = custom_op(operator_name("gelu"), gelu_forward, mutates_args=(), schema="(Tensor x) -> Tensor")
    made.register_fake(lambda x: torch.empty_like(gelu_forward(x)))

    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if wrong:
            c = math.sqrt(2 / math.pi)
            t = torch.tanh(c * (x + 0.044715 * x**3))
            return grad_output * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x))
        density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return grad_output * (0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * density)

    made.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))
    return made


ROWS = tuple(table.rows)
