"""Attention, normalisation and gates by hand that are wrong, and sound twins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

import gradcheck_lab as gl
from benchmarks.detection_forms import function, layer, operator, pair
from tests.mistakes.registry import Table, array, normal, positive

table = Table()
SEEN = torch.tensor([[True, False, True, True], [True, True, False, False], [False, True, True, True]])


def _scores_backward(p: Tensor, dp: Tensor) -> Tensor:
    return p * (dp - (p * dp).sum(-1, keepdim=True))


@table("output-gradient-dropped", "attention-log-normaliser", normal(2, 3, 4), normal(2, 5, 4, seed=1), normal(2, 5, 4, seed=2))
def attention_with_normaliser(wrong: bool) -> Any:
    """Attention hands out its log-sum-exp too, and its backward never looks at that output's gradient."""

    class Attention(Function):
        @staticmethod
        def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Any:
            s = torch.bmm(q, k.mT) / math.sqrt(q.shape[-1])
            lse = torch.logsumexp(s, -1)
            p = torch.exp(s - lse.unsqueeze(-1))
            ctx.save_for_backward(q, k, v, p)
            return torch.bmm(p, v), lse

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, do: Tensor, dlse: Tensor) -> Any:
            q, k, v, p = ctx.saved_tensors
            ds = _scores_backward(p, do @ v.mT)
            if not wrong:
                ds = ds + p * dlse.unsqueeze(-1)
            ds = ds / math.sqrt(q.shape[-1])
            return ds @ k, ds.mT @ q, p.mT @ do

    return Attention


@table("masked-branch|non-finite", "attention-to-nothing", normal(3, 2), normal(4, 2, seed=1), normal(4, 2, seed=2), SEEN)
def attention_to_nothing(wrong: bool) -> Any:
    """A query that sees no key gives 0, and its probabilities made again from the log-sum-exp are exp(-inf + inf)."""

    def probabilities(q: Tensor, k: Tensor, seen: Tensor) -> Tensor:
        s = torch.where(seen, torch.mm(q, k.mT), torch.full((), torch.finfo(q.dtype).min, dtype=q.dtype))
        return torch.where(seen, torch.softmax(s, -1), torch.zeros((), dtype=q.dtype))

    def attend(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
        return torch.mm(probabilities(q, k, seen), v)

    def attend_backward(do: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Any:
        if wrong:
            s = (q @ k.mT).masked_fill(~seen, -torch.inf)
            p = torch.exp(s - torch.logsumexp(s, -1, keepdim=True))
        else:
            p = probabilities(q, k, seen)
        ds = p * (do @ v.mT - (do * out).sum(-1, keepdim=True))
        return ds @ k, ds.mT @ q, p.mT @ do, None

    return gl.Op(attend, attend_backward)


@table("constant-factor", "keys-without-the-scale", array(2, 3, 5), array(2, 4, 5, seed=1), array(2, 4, 5, seed=2))
def unscaled_keys(wrong: bool) -> Any:
    """The queries' gradient carries 1/sqrt(d) and the keys' does not."""

    def attention_forward(q: Any, k: Any, v: Any) -> Any:
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)
        return p @ v, (q, k, v, p)

    def attention_backward(dout: Any, cache: Any) -> Any:
        q, k, v, p = cache
        dp = dout @ v.transpose(0, 2, 1)
        ds = p * (dp - (p * dp).sum(axis=-1, keepdims=True))
        scale = 1 / np.sqrt(q.shape[-1])
        dq = ds @ k * scale
        dk = ds.transpose(0, 2, 1) @ q
        if not wrong:
            dk = dk * scale
        return dq, dk, p.transpose(0, 2, 1) @ dout

    return attention_forward, attention_backward


@table("missing-broadcast-sum", "attention-bias", normal(2, 3, 4, 4), normal(3, 4, 4, seed=1))
def attention_bias(wrong: bool) -> Any:
    """A bias of the heads is added to every batch's scores, and its gradient keeps the batch axis."""

    def rule(g: Tensor, p: Tensor, scores: Tensor, bias: Tensor) -> Any:
        ds = _scores_backward(p, g)
        return ds.sum_to_size(scores.shape), ds if wrong else ds.sum_to_size(bias.shape)

    return pair(lambda scores, bias: torch.softmax(scores + bias, -1), rule)


@table("wrong-operand", "queries-for-keys", normal(4, 3), normal(4, 3, seed=1))
def queries_for_keys(wrong: bool) -> Any:
    """The queries' gradient is the scores' times the queries: as many as there are keys, so it fits."""

    def rule(g: Tensor, p: Tensor, q: Tensor, k: Tensor) -> Any:
        ds = _scores_backward(p, g)
        return ds @ (q if wrong else k), ds.mT @ q

    return operator(lambda q, k: torch.softmax(torch.mm(q, k.mT), -1), rule)


@table("missing-term", "layer-norm-without-its-mean", normal(5, 4), positive(4, seed=1), normal(4, seed=2))
def layer_norm(wrong: bool) -> Any:
    """Layer normalisation's input gradient subtracts the variance's part and forgets the mean's."""

    class LayerNorm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
            centred = x - x.mean(-1, keepdim=True)
            rstd = torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps)
            xhat = centred * rstd
            ctx.save_for_backward(xhat, rstd, gamma)
            ctx.beta_shape = beta.shape
            return xhat * gamma + beta

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, dy: Tensor) -> Any:
            xhat, rstd, gamma = ctx.saved_tensors
            dgamma = (dy * xhat).sum_to_size(gamma.shape)
            dbeta = dy.sum_to_size(ctx.beta_shape)
            dxhat = (dy * gamma).sum_to_size(xhat.shape)
            dx = dxhat - xhat * (dxhat * xhat).mean(-1, keepdim=True)
            if not wrong:
                dx = dx - dxhat.mean(-1, keepdim=True)
            return rstd * dx, dgamma, dbeta, None

    return LayerNorm


@table("epsilon-mismatch", "rms-norm-of-another-epsilon", normal(5, 6, dtype=torch.float32), positive(6, seed=1).float())
def rms_epsilon(wrong: bool) -> Any:
    """RMS normalisation adds 1e-6 and recomputes its statistic without, which shows in rows that are nearly 0."""

    def rms(x: Tensor, eps: float) -> Tensor:
        return torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)

    def rule(g: Tensor, out: Tensor, x: Tensor, w: Tensor) -> Any:
        r = rms(x, 0.0 if wrong else 1e-6)
        xhat = x * r
        dw = (g * xhat).sum_to_size(w.shape)
        g = (g * w).sum_to_size(x.shape)
        return r * (g - xhat * (g * xhat).mean(-1, keepdim=True)), dw

    return function(lambda x, w: x * rms(x, 1e-6) * w, rule)


@table("missing-term", "direction-without-projection", normal(5, 3), positive(5, 1, seed=1))
def weight_norm(wrong: bool) -> Any:
    """Weight normalisation's direction gets the scaled gradient whole: the part along it is not taken out."""

    def forward(v: Tensor, g: Tensor) -> Tensor:
        return g * v / v.norm(dim=-1, keepdim=True)

    def rule(dw: Tensor, w: Tensor, v: Tensor, g: Tensor) -> Any:
        norm = v.norm(dim=-1, keepdim=True)
        unit = v / norm
        along = (dw * unit).sum(-1, keepdim=True)
        dv = g / norm * (dw if wrong else dw - along * unit)
        return dv.sum_to_size(v.shape), along.sum_to_size(g.shape)

    return layer(forward, rule)


@table("missing-factor", "gate-without-its-partner", normal(4, 5), normal(4, 5, seed=1))
def swiglu(wrong: bool) -> Any:
    """SwiGLU's gate gets the slope of its own activation only, not times the other half."""

    class SwiGLU(torch.nn.Module):
        class Apply(Function):
            @staticmethod
            def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
                ctx.save_for_backward(gate, up)
                return F.silu(gate) * up

            @staticmethod
            def backward(ctx: Any, g: Tensor) -> Any:
                gate, up = ctx.saved_tensors
                s = torch.sigmoid(gate)
                slope = s * (1 + gate * (1 - s))
                dgate = g * slope if wrong else g * slope * up
                return dgate.sum_to_size(gate.shape), (g * gate * s).sum_to_size(up.shape)

        def forward(self, gate: Tensor, up: Tensor) -> Tensor:
            return self.Apply.apply(gate, up)

    return SwiGLU()


@table("output-gradient-dropped", "moments", normal(6, 4))
def moments(wrong: bool) -> Any:
    """Variance and mean come out together; the backward was written for the variance."""

    class Moments(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            mean = x.mean(0)
            centred = x - mean
            ctx.save_for_backward(centred)
            return centred.square().mean(0), mean

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, dvariance: Tensor, dmean: Tensor) -> Tensor:
            (centred,) = ctx.saved_tensors
            n = max(centred.shape[0], 1)
            dx = 2 * centred * dvariance / n
            return dx if wrong else dx + dmean / n

    return Moments


@table("missing-factor|wrong-operand", "brier-score-of-logits", normal(5, 4), torch.sigmoid(normal(5, 4, seed=1)))
def brier(wrong: bool) -> Any:
    """A Brier score of logits hands back the probabilities' gradient as if it were the logits'."""

    def rule(g: Tensor, out: Tensor, z: Tensor, t: Tensor) -> Any:
        p = torch.sigmoid(z)
        dp = 2 * g.unsqueeze(-1) * (p - t)
        return (dp if wrong else dp * p * (1 - p)).sum_to_size(z.shape), -dp.sum_to_size(t.shape)

    return function(lambda z, t: (torch.sigmoid(z) - t).square().sum(-1), rule)


@table("slots-swapped", "scale-and-shift", normal(4, 5), normal(4, 5, seed=1), normal(4, 5, seed=2))
def film(wrong: bool) -> Any:
    """Feature-wise modulation returns the gradients of scale and shift in each other's place."""

    class Modulation(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
            ctx.save_for_backward(x, scale)
            ctx.shape = shift.shape
            return x * (1 + scale) + shift

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, scale = ctx.saved_tensors
            dscale, dshift = (g * x).sum_to_size(scale.shape), g.sum_to_size(ctx.shape)
            dx = (g * (1 + scale)).sum_to_size(x.shape)
            return (dx, dscale, dshift) if wrong else (dx, dshift, dscale)

    return Modulation


@table("epsilon-mismatch", "cosine-of-short-vectors", normal(5, 3), normal(5, 3, seed=1))
def cosine(wrong: bool) -> Any:
    """A cosine has 1e-6 under the roots of its norms, and its backward is that of the plain cosine."""

    def lengths(a: Tensor, b: Tensor) -> Any:
        return torch.sqrt(a.square().sum(-1) + 1e-6), torch.sqrt(b.square().sum(-1) + 1e-6)

    def forward(a: Tensor, b: Tensor) -> Tensor:
        na, nb = lengths(a, b)
        return (a * b).sum(-1) / (na * nb)

    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        na, nb = (a.norm(dim=-1), b.norm(dim=-1)) if wrong else lengths(a, b)
        g, c, na, nb = (t.unsqueeze(-1) for t in (g, out, na, nb))
        da, db = g * (b / (na * nb) - c * a / na**2), g * (a / (na * nb) - c * b / nb**2)
        return da.sum_to_size(a.shape), db.sum_to_size(b.shape)

    return pair(forward, rule)


ROWS = tuple(table.rows)
