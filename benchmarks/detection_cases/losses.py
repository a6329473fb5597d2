"""Wrong and sound backwards of losses, densities and special functions that no test of the toolkit has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.detection_forms import function, layer, module, operator, pair
from tests.mistakes.registry import Table, normal, positive, whole

table = Table()
UNIT = torch.sigmoid(normal(5, 4))


@table("missing-term|wrong-value", "gaussian-divergence", normal(5, 4), normal(5, 4, seed=1))
def divergence(wrong: bool) -> Any:
    def forward(mean: Tensor, log_variance: Tensor) -> Tensor:
        return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1)

    def rule(g: Tensor, out: Tensor, mean: Tensor, log_variance: Tensor) -> Any:
        g = g.unsqueeze(-1)
        return g * mean, 0.5 * g * (log_variance.exp() if wrong else log_variance.exp() - 1)

    return function(forward, rule)


@table("sign", "triplet-loss", normal(5, 3), normal(5, 3, seed=1), normal(5, 3, seed=2))
def triplet(wrong: bool) -> Any:
    def forward(a: Tensor, p: Tensor, n: Tensor) -> Tensor:
        return F.softplus((a - p).square().sum(-1) - (a - n).square().sum(-1))

    def rule(g: Tensor, out: Tensor, a: Tensor, p: Tensor, n: Tensor) -> Any:
        s = 2 * (g * -torch.expm1(-out)).unsqueeze(-1)
        return s * (n - p), s * (p - a), s * ((n - a) if wrong else (a - n))

    return pair(forward, rule)


@table("missing-term|wrong-value", "dice-loss", UNIT, (normal(5, 4, seed=2) > 0).double())
def dice(wrong: bool) -> Any:
    def forward(p: Tensor, t: Tensor) -> Tensor:
        return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)

    def rule(g: Tensor, out: Tensor, p: Tensor, t: Tensor) -> Any:
        union, share = p.sum() + t.sum() + 1, 1 - out
        return -g * (2 * t - (0 if wrong else share)) / union, -g * (2 * p - share) / union

    return layer(forward, rule)


@table("wrong-value|missing-term", "focal-loss", normal(5, 4))
def focal(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        p = torch.sigmoid(x)
        kept = -((1 - p) ** 3)
        return (g * (kept if wrong else kept + 2 * (1 - p) ** 2 * p * F.logsigmoid(x)),)

    return operator(lambda x: -((1 - torch.sigmoid(x)) ** 2) * F.logsigmoid(x), rule)


@table("constant-factor|wrong-value|sign", "pinball-loss", normal(5, 4), normal(5, 4, seed=1), 0.3)
def pinball(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, y: Tensor, q: Tensor, level: float) -> Any:
        below = -(level if wrong else 1 - level)
        slope = g * torch.where(y > q, torch.full_like(y, level), torch.full_like(y, below))
        return slope, -slope, None

    def forward(y: Tensor, q: Tensor, level: float) -> Tensor:
        return torch.maximum(level * (y - q), (level - 1) * (y - q))

    return function(forward, rule)


@table("wrong-value|low-precision", "log-gamma", positive(5, 4) + 2)
def log_gamma(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return g * (x.log() - 0.5 / x - 1 / (12 * x * x) if wrong else torch.digamma(x))

    return function(torch.lgamma, rule)


@table("wrong-value|wrong-operand", "inverse-hyperbolic-tangent", UNIT - 0.5)
def atanh(wrong: bool) -> Any:
    return pair(torch.atanh, lambda g, out, x: (g / (1 + x * x if wrong else (1 - x) * (1 + x)),))


@table("wrong-value|value-dependent", "clipped-logit", UNIT)
def logit(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        inner = x.clamp(0.01, 0.99)
        inside = 1.0 if wrong else ((x >= 0.01) & (x <= 0.99)).to(x.dtype)
        return (g * inside / (inner * (1 - inner)),)

    return layer(lambda x: torch.logit(x.clamp(0.01, 0.99)), rule)


@table("wrong-value", "horner-polynomial", normal(5, 3), normal(4, seed=1))
def polynomial(wrong: bool) -> Any:
    def forward(x: Tensor, c: Tensor) -> Tensor:
        powers = x.unsqueeze(-1) ** torch.arange(c.shape[-1], dtype=x.dtype)
        return powers @ c

    def rule(g: Tensor, out: Tensor, x: Tensor, c: Tensor) -> Any:
        k = torch.arange(c.shape[-1], dtype=x.dtype)
        lower = x.unsqueeze(-1) ** (k - 1).clamp(min=0)
        dc = (g.unsqueeze(-1) * x.unsqueeze(-1) ** k).reshape(-1, c.shape[-1]).sum(0)
        return g * (lower @ (c * ((k > 0).to(x.dtype) if wrong else k))), dc

    return function(forward, rule)


@table("missing-factor", "segment-mean", normal(7, 3), torch.tensor([0, 1, 1, 3, 3, 3, 2]))
def segment_mean(wrong: bool) -> Any:
    def counts(segment: Tensor, like: Tensor) -> Tensor:
        return torch.bincount(segment, minlength=4).clamp(min=1).to(like.dtype).unsqueeze(-1)

    def forward(x: Tensor, segment: Tensor) -> Tensor:
        return x.new_zeros(4, x.shape[-1]).index_add(0, segment, x) / counts(segment, x)

    def rule(g: Tensor, out: Tensor, x: Tensor, segment: Tensor) -> Any:
        return (g if wrong else g / counts(segment, g))[segment], None

    return function(forward, rule)


@table("wrong-value|constant-factor", "masked-mean", normal(3, 5, 2), whole(5, 3) + 1)
def masked_mean(wrong: bool) -> Any:
    def mask(x: Tensor, lengths: Tensor) -> Tensor:
        return (torch.arange(x.shape[-2]) < lengths.unsqueeze(-1)).to(x.dtype).unsqueeze(-1)

    def forward(x: Tensor, lengths: Tensor) -> Tensor:
        m = mask(x, lengths)
        return (x * m).sum(-2) / m.sum(-2).clamp(min=1)

    def rule(g: Tensor, out: Tensor, x: Tensor, lengths: Tensor) -> Any:
        m = mask(x, lengths)
        n = x.shape[-2] if wrong else m.sum(-2).clamp(min=1)
        return (g / n).unsqueeze(-2) * m, None

    return function(forward, rule)


@table("sign", "interpolation-weight", normal(5, 3), normal(5, 3, seed=1), UNIT[:, :3])
def interpolation(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor, t: Tensor) -> Any:
        return g * (1 - t), g * t, g * ((a - b) if wrong else (b - a))

    return operator(lambda a, b, t: a + t * (b - a), rule)


@table("overflow|non-finite", "log-add-exp", normal(4, 3), normal(4, 3, seed=1))
def log_add_exp(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        if wrong:
            total = a.exp() + b.exp()
            return g * a.exp() / total, g * b.exp() / total
        return g * (a - out).exp(), g * (b - out).exp()

    return pair(torch.logaddexp, rule)


@table("non-finite|masked-branch", "hypotenuse", normal(4, 3), normal(4, 3, seed=1))
def hypotenuse(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        scale = 1 / out if wrong else torch.where(out > 0, 1 / out, 0.0)
        return g * a * scale, g * b * scale

    return module(lambda a, b: torch.linalg.vector_norm(torch.stack([a, b]), dim=0), rule)


@table("low-precision", "entropy-in-half", torch.softmax(normal(6, 5), -1))
def entropy(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, p: Tensor) -> Any:
        logs = p.bfloat16().log().to(p.dtype) if wrong else p.log()
        return -(g.unsqueeze(-1) * (logs + 1))

    return function(lambda p: -(p * p.log()).sum(-1), rule)


@table("wrong-dtype", "poisson-loss", normal(5, 3), positive(5, 3, seed=1))
def poisson(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, rate: Tensor, count: Tensor) -> Any:
        grad = g * (rate.exp() - count)
        return grad.float() if wrong else grad, -g * rate

    return pair(lambda rate, count: rate.exp() - count * rate, rule)


@table("mutates-grad-output", "soft-threshold", normal(5, 4))
def soft_threshold(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return (g.masked_fill_(out == 0, 0) if wrong else g.masked_fill(out == 0, 0),)

    return layer(lambda x: x.sign() * (x.abs() - 0.5).clamp(min=0), rule)


@table("not-linear", "clipped-wing-loss", normal(5, 4))
def wing(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        grad = g * x.sign() / (0.5 + x.abs())
        return (grad / grad.norm().clamp(min=1.0) if wrong else grad,)

    return pair(lambda x: torch.log1p(x.abs() / 0.5), rule)


@table("zero-gradient", "hinge-of-margin", normal(5, 4), positive(4, seed=1))
def margin(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor, m: Tensor) -> Any:
        dm = torch.zeros_like(m)
        active = g * (out > 0)
        return -active, dm if wrong else dm + active.reshape(-1, m.shape[-1]).sum(0)

    return function(lambda x, m: (m - x).clamp(min=0), rule)


ROWS = table.rows
