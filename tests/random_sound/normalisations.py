"""Sound backwards of normalisations and of softmax and its relatives."""

from typing import Any

import torch
from torch import Tensor

from tests.random_sound.draws import WIDE, Draw
from tests.random_sound.forms import Rule, in_float32, sound, sum_to


@sound()
def layer_norm(draw: Draw) -> Rule:
    def forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred * torch.rsqrt((centred * centred).mean(-1, keepdim=True) + eps) * weight + bias

    def in_three_terms(g: Tensor, y: Tensor, x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Any:
        rstd = torch.rsqrt(x.var(-1, correction=0, keepdim=True) + eps)
        hat = (x - x.mean(-1, keepdim=True)) * rstd
        h = g * weight
        dx = rstd * (h - h.mean(-1, keepdim=True) - hat * (h * hat).mean(-1, keepdim=True))
        return dx, sum_to(g * hat, weight.shape), sum_to(g, bias.shape)

    def through_variance(g: Tensor, y: Tensor, x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Any:
        n, centred = x.shape[-1], x - x.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True) + eps
        h = g * weight
        dvariance = (h * centred).sum(-1, keepdim=True) * -0.5 * variance**-1.5
        dcentred = h * variance**-0.5 + dvariance * centred * 2 / n
        dx = dcentred - dcentred.mean(-1, keepdim=True)
        return dx, sum_to(g * centred * variance**-0.5, weight.shape), sum_to(g, bias.shape)

    shape = (*draw.shape(0, 2, smallest=1), draw.size(2, 5))
    inputs = (draw.real(*shape), draw.real(shape[-1]), draw.real(shape[-1]))
    rule = draw.alternatives(in_three_terms, through_variance)
    return Rule(forward, in_float32(rule), inputs, {"eps": draw.of((1e-5, 1e-3, 0.1))})


@sound()
def rms_norm(draw: Draw) -> Rule:
    def forward(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight

    def backward(g: Tensor, y: Tensor, x: Tensor, weight: Tensor, eps: float = 1e-6) -> Any:
        r = torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)
        h = g * weight
        dx = h * r - x * r**3 * (h * x).mean(-1, keepdim=True)
        return dx, sum_to(g * x * r, weight.shape)

    def by_projection(g: Tensor, y: Tensor, x: Tensor, weight: Tensor, eps: float = 1e-6) -> Any:
        r = torch.rsqrt((x * x).mean(-1, keepdim=True) + eps)
        unit, h = x * r, g * weight
        return r * (h - unit * (h * unit).sum(-1, keepdim=True) / x.shape[-1]), sum_to(g * unit, weight.shape)

    shape = draw.shape(1, smallest=1)
    rule = in_float32(draw.alternatives(backward, by_projection))
    return Rule(forward, rule, (draw.real(*shape), draw.real(shape[-1])), {"eps": draw.of((1e-6, 1e-3, 0.5))})


@sound(dtypes=WIDE)
def batch_norm(draw: Draw) -> Rule:
    def forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
        return (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + eps) * gamma + beta

    def backward(g: Tensor, y: Tensor, x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Any:
        n = x.shape[0]
        istd = 1 / torch.sqrt(x.var(0, correction=0) + eps)
        hat = (x - x.mean(0)) * istd
        dgamma, dbeta = (g * hat).sum(0), g.sum(0)
        return gamma * istd / n * (n * g - dbeta - hat * dgamma), dgamma, dbeta

    n, d = draw.size(2, 6), draw.size(1, 4)
    return Rule(forward, backward, (draw.real(n, d), draw.real(d), draw.real(d)), {"eps": draw.of((1e-5, 1e-3))})


@sound(dtypes=WIDE)
def group_norm(draw: Draw) -> Rule:
    groups = draw.size(1, 3)

    def forward(x: Tensor, groups: int = 1, eps: float = 1e-3) -> Tensor:
        rows = x.reshape(x.shape[0], groups, -1)
        centred = rows - rows.mean(-1, keepdim=True)
        return (centred / torch.sqrt(rows.var(-1, correction=0, keepdim=True) + eps)).reshape(x.shape)

    def backward(g: Tensor, y: Tensor, x: Tensor, groups: int = 1, eps: float = 1e-3) -> Any:
        h, hat = g.reshape(x.shape[0], groups, -1), y.reshape(x.shape[0], groups, -1)
        spread = torch.sqrt(x.reshape(x.shape[0], groups, -1).var(-1, correction=0, keepdim=True) + eps)
        return (((h - h.mean(-1, keepdim=True) - hat * (h * hat).mean(-1, keepdim=True)) / spread).reshape(x.shape),)

    shape = (draw.size(1, 3), groups * draw.size(1, 2), draw.size(2, 4))
    return Rule(forward, backward, (draw.real(*shape),), {"groups": groups})


@sound()
def unit_length(draw: Draw) -> Rule:
    def forward(x: Tensor, eps: float = 1e-6) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True).clamp(min=eps)

    def backward(g: Tensor, y: Tensor, x: Tensor, eps: float = 1e-6) -> Any:
        norm = x.norm(dim=-1, keepdim=True)
        radial = torch.where(norm > eps, y * (g * y).sum(-1, keepdim=True), 0)
        return ((g - radial) / norm.clamp(min=eps),)

    shape = draw.shape(1, smallest=1)
    return Rule(forward, in_float32(backward), (draw.real(*shape),), {"eps": draw.of((1e-3, 0.1))})


@sound(dtypes=WIDE)
def weight_norm(draw: Draw) -> Rule:
    def forward(v: Tensor, scale: Tensor) -> Tensor:
        return scale.unsqueeze(-1) * v / v.norm(dim=-1, keepdim=True)

    def backward(g: Tensor, y: Tensor, v: Tensor, scale: Tensor) -> Any:
        norm = v.norm(dim=-1, keepdim=True)
        unit = v / norm
        dscale = (g * unit).sum(-1)
        return scale.unsqueeze(-1) / norm * (g - unit * dscale.unsqueeze(-1)), dscale

    rows = draw.size(1, 4)
    return Rule(forward, backward, (draw.positive(rows, draw.size(2, 4)), draw.real(rows)))


@sound()
def softmax(draw: Draw) -> Rule:
    shape = draw.shape(1, 3, smallest=1)
    axis = draw.axis(shape)

    def forward(x: Tensor, temperature: float = 1.0) -> Tensor:
        return torch.softmax(x / temperature, axis)

    def by_output(g: Tensor, y: Tensor, x: Tensor, temperature: float = 1.0) -> Any:
        return (y * (g - (g * y).sum(axis, keepdim=True)) / temperature,)

    def by_difference(g: Tensor, y: Tensor, x: Tensor, temperature: float = 1.0) -> Any:
        gy = g * y
        return ((gy - y * gy.sum(axis, keepdim=True)) / temperature,)

    rule = in_float32(draw.alternatives(by_output, by_difference))
    return Rule(forward, rule, (draw.real(*shape),), {"temperature": draw.number(0.5, 3)})


@sound()
def log_softmax(draw: Draw) -> Rule:
    shape = draw.shape(1, 3, smallest=1)
    axis = draw.axis(shape)

    def forward(x: Tensor) -> Tensor:
        return x - x.logsumexp(axis, keepdim=True)

    def by_output(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g - y.exp() * g.sum(axis, keepdim=True),)

    def by_softmax(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (g - g.sum(axis, keepdim=True) * x.softmax(axis),)

    return Rule(forward, in_float32(draw.alternatives(by_output, by_softmax)), (draw.real(*shape),))


@sound()
def masked_softmax(draw: Draw) -> Rule:
    def forward(x: Tensor, mask: Tensor) -> Tensor:
        kept = x.masked_fill(~mask, float("-inf"))
        empty = ~mask.any(-1, keepdim=True)
        return kept.masked_fill(empty, 0).softmax(-1).masked_fill(empty, 0)

    def backward(g: Tensor, y: Tensor, x: Tensor, mask: Tensor) -> Any:
        return (y * (g - (g * y).sum(-1, keepdim=True)), None)

    shape = draw.shape(1, smallest=1)
    return Rule(forward, in_float32(backward), (draw.real(*shape), draw.mask(*shape)))


@sound(dtypes=WIDE)
def sparsemax(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        ordered = x.sort(-1, descending=True).values
        count = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)
        size = ((1 + count * ordered) > ordered.cumsum(-1)).sum(-1, keepdim=True)
        threshold = (ordered.cumsum(-1).gather(-1, size - 1) - 1) / size
        return (x - threshold).clamp(min=0)

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        support = (y > 0).to(g.dtype)
        mean = (g * support).sum(-1, keepdim=True) / support.sum(-1, keepdim=True)
        return (support * (g - mean),)

    return Rule(forward, backward, (draw.real(*draw.shape(0, 2, smallest=1), draw.size(2, 4), kind="ordinary"),))


@sound(dtypes=WIDE)
def attention(draw: Draw) -> Rule:
    causal = draw.of((True, False))
    return Rule(attending(causal), attention_backward(causal), query_key_value(draw))


def attention_backward(causal: bool) -> Any:
    def backward(g: Tensor, y: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Any:
        scale = q.shape[-1] ** -0.5
        p = hidden_ahead((q * scale) @ k.mT, causal).softmax(-1)
        dp = g @ v.mT
        dscores = (p * dp - p * (p * dp).sum(-1, keepdim=True)) * scale
        return dscores @ k, dscores.mT @ q, p.mT @ g

    return backward


@sound(dtypes=WIDE)
def flash_attention(draw: Draw) -> Rule:
    causal = draw.of((True, False))
    return Rule(attending(causal), flash_attention_backward(causal), query_key_value(draw))


def flash_attention_backward(causal: bool) -> Any:
    def backward(g: Tensor, y: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Any:
        scale = q.shape[-1] ** -0.5
        scores = hidden_ahead((q * scale) @ k.mT, causal)
        p = (scores - scores.logsumexp(-1, keepdim=True)).exp()
        dscores = p * (g @ v.mT - (g * y).sum(-1, keepdim=True)) * scale
        return dscores @ k, dscores.mT @ q, p.mT @ g

    return backward


def attending(causal: bool) -> Any:
    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return hidden_ahead(q @ k.mT / q.shape[-1] ** 0.5, causal).softmax(-1) @ v

    return forward


def hidden_ahead(scores: Tensor, causal: bool) -> Tensor:
    if not causal:
        return scores
    return scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), float("-inf"))


def query_key_value(draw: Draw) -> tuple[Tensor, ...]:
    n, d = draw.size(1, 4), draw.size(1, 3)
    return tuple(draw.real(n, d) for _ in range(3))
