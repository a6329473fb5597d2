"""Wrong and sound backwards of small layers in torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from benchmarks.detection_forms import pair
from tests.mistakes.registry import Table, normal, positive

table = Table()


@table("non-finite", "rows-of-unit-length", normal(4, 3))
def unit_rows(wrong: bool) -> Any:
    """The forward bounds the length from below, the backward divides by the bare length: rows of zeros give NaN."""

    class Normalize(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, eps: float = 1e-3) -> Tensor:
            length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            y = x / length.clamp(min=eps)
            ctx.save_for_backward(y, length)
            ctx.eps = eps
            return y

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            y, length = ctx.saved_tensors
            tangent = g - y * (g * y).sum(-1, keepdim=True)
            if wrong:
                return tangent / length, None
            return torch.where(length > ctx.eps, tangent / length.clamp(min=ctx.eps), g / ctx.eps), None

    return Normalize


@table("missing-gradient", "instance-norm-with-a-scale", normal(3, 4, 5), normal(4, 1, seed=1), normal(4, 1, seed=2))
def scaled_instance_norm(wrong: bool) -> Any:
    """As reported for TinyTorch and aprender: the scale never receives a gradient."""

    class ScaledNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
            mean, var = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
            rstd = (var + 1e-5).rsqrt()
            xhat = (x - mean) * rstd
            ctx.save_for_backward(xhat, rstd, gamma)
            ctx.beta_shape = beta.shape
            return xhat * gamma + beta

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            xhat, rstd, gamma = ctx.saved_tensors
            h = (g * gamma).sum_to_size(xhat.shape)
            dx = (h - h.mean(-1, keepdim=True) - xhat * (h * xhat).mean(-1, keepdim=True)) * rstd
            dgamma = None if wrong else (g * xhat).sum_to_size(gamma.shape)
            return dx, dgamma, g.sum_to_size(ctx.beta_shape)

    return ScaledNorm


@table("input-layout", "depthwise-convolution-of-a-sequence", normal(2, 3, 7), normal(3, 3, seed=1))
def depthwise(wrong: bool) -> Any:
    """The backward cuts the windows out of the input's storage with the strides of a contiguous one."""

    class Depthwise(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
            assert x.shape[-2] == kernel.shape[0]
            ctx.save_for_backward(x, kernel)
            return (x.unfold(-1, kernel.shape[-1], 1) * kernel.unsqueeze(1)).sum(-1)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, kernel = ctx.saved_tensors
            k = kernel.shape[-1]
            if wrong:
                n, c, t = x.shape
                windows = x.as_strided((n, c, t - k + 1, k), (c * t, t, 1, 1))
            else:
                windows = x.unfold(-1, k, 1)
            dx = torch.zeros_like(x)
            for i in range(k):
                dx[..., i : i + g.shape[-1]] += g * kernel[:, i : i + 1]
            return dx, (windows * g.unsqueeze(-1)).sum((0, 2))

    return Depthwise


@table("missing-broadcast-sum", "leaky-slope-of-each-channel", normal(4, 3, 5), positive(3, 1))
def parametric_relu(wrong: bool) -> Any:
    """One slope for all channels is forgotten: the backward always keeps the channels apart."""

    def prelu(x: Tensor, slope: Tensor) -> Tensor:
        return torch.where(x > 0, x, slope * x)

    def prelu_backward(g: Tensor, out: Tensor, x: Tensor, slope: Tensor) -> Any:
        dx = torch.where(x > 0, g, slope * g)
        below = torch.where(x > 0, 0, g * x)
        ds = below.sum((0, 2)).unsqueeze(-1) if wrong else below.sum_to_size(slope.shape)
        return dx.sum_to_size(x.shape), ds

    return pair(prelu, prelu_backward)


@table("undefined-upstream", "memory-step-with-two-outputs", normal(3, 8), normal(3, 2, seed=1))
def memory_step(wrong: bool) -> Any:
    """A loss that uses one of the two outputs sends None for the other, and the backward adds it."""

    class MemoryStep(Function):
        @staticmethod
        def forward(ctx: Any, gates: Tensor, c: Tensor) -> Any:
            ctx.set_materialize_grads(False)
            i, f, o, g = gates.chunk(4, -1)
            i, f, o, g = i.sigmoid(), f.sigmoid(), o.sigmoid(), g.tanh()
            new_c = f * c + i * g
            ctx.save_for_backward(i, f, o, g, c, new_c)
            return o * new_c.tanh(), new_c

        @staticmethod
        def backward(ctx: Any, dh: Tensor | None, dc: Tensor | None) -> Any:
            i, f, o, g, c, new_c = ctx.saved_tensors
            if not wrong:
                dh = torch.zeros_like(new_c) if dh is None else dh
                dc = torch.zeros_like(new_c) if dc is None else dc
            t = new_c.tanh()
            total = dc + dh * o * (1 - t * t)
            di, df, do = total * g * i * (1 - i), total * c * f * (1 - f), dh * t * o * (1 - o)
            return torch.cat([di, df, do, total * i * (1 - g * g)], -1), total * f

    return MemoryStep


@table(
    "missing-term|wrong-value", "padded-sequence-that-holds-its-state", normal(3, 4, 2), (normal(3, 4, seed=6) > -0.4).double()
)
def held_state(wrong: bool) -> Any:
    """At padded steps the state is handed on, but its gradient is not."""

    class Held:
        def __init__(self) -> None:
            self.weight = normal(2, 2, seed=1)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            h, self.steps, self.mask = torch.zeros_like(x[:, 0]), [], mask
            for t in range(x.shape[1]):
                m, new = mask[:, t : t + 1], torch.tanh(x[:, t] + h @ self.weight)
                self.steps.append((h, new))
                h = m * new + (1 - m) * h
            return h

        def backward(self, dh: Tensor) -> Tensor:
            self.dweight, dx = torch.zeros_like(self.weight), []
            for t in reversed(range(len(self.steps))):
                (prev, new), m = self.steps[t], self.mask[:, t : t + 1]
                da = m * dh * (1 - new * new)
                self.dweight = self.dweight + prev.T @ da
                dh = da @ self.weight.T + (0 if wrong else (1 - m) * dh)
                dx.insert(0, da)
            return torch.stack(dx, 1)

    return Held()


@table("overflow|non-finite", "self-gated-unit", normal(5, 4))
def silu(wrong: bool) -> Any:
    """The slope is written with exp(-x), which has no end for large negative inputs."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        if wrong:
            e = torch.exp(-x)
            return (g * (1 + e + x * e) / (1 + e) ** 2,)
        s = torch.sigmoid(x)
        return (g * (s + x * s * torch.sigmoid(-x)),)

    return pair(lambda x: x * torch.sigmoid(x), rule)


@table("missing-factor", "gated-linear-unit", normal(5, 6))
def gated_linear(wrong: bool) -> Any:
    """The gate's gradient has the gate, but not one minus the gate."""

    class GLU:
        def forward(self, x: Tensor) -> Tensor:
            self.a, b = x.chunk(2, -1)
            self.s = torch.sigmoid(b)
            return self.a * self.s

        def backward(self, dout: Tensor) -> Tensor:
            slope = self.s if wrong else self.s * (1 - self.s)
            return torch.cat([dout * self.s, dout * self.a * slope], -1)

    return GLU()


@table("missing-factor", "residual-with-a-learned-scale", normal(5, 4), normal(5, 4, seed=1), normal(4, seed=2))
def layer_scale(wrong: bool) -> Any:
    """The branch is scaled per channel on its way out, its gradient is not."""

    class LayerScale(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, branch: Tensor, alpha: Tensor) -> Tensor:
            ctx.save_for_backward(branch, alpha)
            ctx.shape = x.shape
            return x + alpha * branch

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            branch, alpha = ctx.saved_tensors
            to_branch = g if wrong else g * alpha
            return g.sum_to_size(ctx.shape), to_branch.sum_to_size(branch.shape), (g * branch).sum_to_size(alpha.shape)

    return LayerScale


@table("overflow|non-finite", "softmax-layer-that-starts-anew", normal(4, 5, dtype=torch.float32))
def softmax_layer(wrong: bool) -> Any:
    """The forward subtracts the maximum, the backward makes the probabilities again without it."""

    class Softmax:
        def forward(self, x: Tensor) -> Tensor:
            self.x = x
            e = torch.exp(x - x.amax(-1, keepdim=True))
            self.out = e / e.sum(-1, keepdim=True)
            return self.out

        def backward(self, dout: Tensor) -> Tensor:
            p = self.out
            if wrong:
                e = torch.exp(self.x)
                p = e / e.sum(-1, keepdim=True)
            return p * (dout - (dout * p).sum(-1, keepdim=True))

    return Softmax()


@table("value-dependent", "dropout-read-off-its-output", normal(4, 5), (normal(4, 5, seed=3) > -0.3).double() / 0.6)
def dropout_from_output(wrong: bool) -> Any:
    """As reported for Kaldi: the mask is output over input, and taken as one where the input is zero."""

    class Dropout(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
            y = x * mask
            ctx.save_for_backward(*((x, y) if wrong else (x, mask)))
            return y

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, kept = ctx.saved_tensors
            if not wrong:
                return g * kept, g * x
            return g * torch.where(x == 0, 1.0, kept / x), g * x

    return Dropout


ROWS = tuple(table.rows)
