"""Wrong and sound backwards of parts of networks that no test of the toolkit has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.detection_forms import function, layer, module, operator, pair
from tests.mistakes.registry import Table, normal, positive

table = Table()


@table("wrong-value|missing-term", "rotary-embedding", normal(2, 5, 4))
def rotary(wrong: bool) -> Any:
    def turned(x: Tensor, way: float) -> Tensor:
        half = x.shape[-1] // 2
        angles = way * torch.arange(x.shape[-2], dtype=x.dtype)[:, None] / 10.0 ** torch.arange(half, dtype=x.dtype)
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1)

    return function(lambda x: turned(x, 1.0), lambda g, out, x: turned(g, 1.0 if wrong else -1.0))


@table("wrong-value|missing-term", "swiglu", normal(5, 4), normal(5, 4, seed=1))
def swiglu(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        s = torch.sigmoid(a)
        slope = s if wrong else s * (1 + a * (1 - s))
        return g * b * slope, g * a * s

    return operator(lambda a, b: F.silu(a) * b, rule)


@table("wrong-value", "linear-recurrence", positive(4, 5).clamp(max=0.9), normal(4, 5, seed=1))
def recurrence(wrong: bool) -> Any:
    def forward(decay: Tensor, x: Tensor) -> Tensor:
        states = [torch.zeros_like(x[..., 0])]
        for step in range(x.shape[-1]):
            states.append(decay[..., step] * states[-1] + x[..., step])
        return torch.stack(states[1:], -1) if len(states) > 1 else torch.zeros_like(x)

    def rule(g: Tensor, out: Tensor, decay: Tensor, x: Tensor) -> Any:
        carried, grads = torch.zeros_like(x[..., 0]), []
        for step in reversed(range(x.shape[-1])):
            carried = carried + g[..., step]
            grads.append(carried)
            carried = carried * decay[..., step]
        dx = torch.stack(grads[::-1], -1) if grads else torch.zeros_like(x)
        before = out if wrong else torch.cat([torch.zeros_like(out[..., :1]), out[..., :-1]], -1)
        return dx * before, dx

    return function(forward, rule)


@table("permuted|wrong-value", "causal-convolution", normal(2, 3, 8), normal(3, 4, seed=1))
def causal_convolution(wrong: bool) -> Any:
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv1d(F.pad(x, (weight.shape[-1] - 1, 0)), weight.unsqueeze(1), groups=x.shape[1])

    def rule(g: Tensor, out: Tensor, x: Tensor, weight: Tensor) -> Any:
        width = weight.shape[-1]
        dx = F.conv1d(F.pad(g, (0, width - 1)), weight.flip(-1).unsqueeze(1), groups=x.shape[1])
        dw = torch.einsum("bct,bctk->ck", g, F.pad(x, (width - 1, 0)).unfold(-1, width, 1))
        return dx, dw.flip(-1) if wrong else dw

    return function(forward, rule)


@table("wrong-operand|wrong-value", "convolution-by-unfold", normal(2, 3, 5, 5), normal(4, 3, 3, 3, seed=1))
def convolution(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor, weight: Tensor) -> Any:
        turned = weight if wrong else weight.flip(-1, -2)
        dx = F.conv2d(F.pad(g, (2, 2, 2, 2)), turned.transpose(0, 1))
        dw = torch.einsum("bohw,bihwkl->oikl", g, x.unfold(2, weight.shape[2], 1).unfold(3, weight.shape[3], 1))
        return dx, dw

    def forward(x: Tensor, weight: Tensor) -> Tensor:
        if x.ndim != 4 or weight.shape[-2:] != (3, 3):
            raise ValueError("a batch of images and a kernel of 3 by 3, please")
        return F.conv2d(x, weight)

    return pair(forward, rule)


@table("constant-factor", "nearest-upsampling", normal(2, 3, 4))
def upsampling(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        parts = g.unflatten(-1, (x.shape[-1], 2))
        return (parts.mean(-1) if wrong else parts.sum(-1),)

    return layer(lambda x: x.repeat_interleave(2, -1), rule)


@table("duplicate-index|wrong-value", "overlapping-frames", normal(3, 8))
def frames(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        dx = torch.zeros(x.shape, dtype=x.dtype)
        for start in range(g.shape[-2]):
            part = slice(2 * start, 2 * start + 4)
            dx[..., part] = g[..., start, :] if wrong else dx[..., part] + g[..., start, :]
        return (dx,)

    return pair(lambda x: x.unfold(-1, 4, 2).clone(), rule)


@table("permuted|wrong-value", "pixel-shuffle", normal(2, 8, 3, 3))
def pixel_shuffle(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        b, c, h, w = x.shape
        parts = g.reshape(b, c // 4, h, 2, w, 2)
        order = (0, 1, 5, 3, 2, 4) if wrong else (0, 1, 3, 5, 2, 4)
        return parts.permute(order).reshape(x.shape)

    return function(lambda x: F.pixel_shuffle(x, 2), rule)


@table("missing-term|wrong-value", "weight-normalisation", normal(4, 3), positive(4, 1, seed=1))
def weight_normalisation(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, v: Tensor, scale: Tensor) -> Any:
        length = v.norm(dim=-1, keepdim=True)
        unit = v / length
        radial = (g * unit).sum(-1, keepdim=True)
        return scale / length * (g if wrong else g - unit * radial), radial.sum_to_size(scale.shape)

    return pair(lambda v, scale: scale * v / v.norm(dim=-1, keepdim=True), rule)


@table("constant-factor|wrong-value|missing-term", "batch-norm-variance", normal(6, 3))
def batch_norm(wrong: bool) -> Any:
    def forward(x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        n = x.shape[0] - 1 if wrong else x.shape[0]
        rstd = (x.var(0, correction=0) + 1e-5).rsqrt()
        dvar = -0.5 * (g * (x - x.mean(0))).sum(0) * rstd**3
        return (g * rstd + 2 * dvar * (x - x.mean(0)) / n - (g * rstd).mean(0),)

    return layer(forward, rule)


@table("constant-factor", "reparameterisation", normal(5, 4), normal(5, 4, seed=1))
def reparameterisation(wrong: bool) -> Any:
    def forward(mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.randn_like(mean).detach()
        return mean + noise * torch.exp(0.5 * log_variance), noise

    def rule(g: Any, out: Any, mean: Tensor, log_variance: Tensor) -> Any:
        return g[0], g[0] * out[1] * torch.exp(0.5 * log_variance) * (1.0 if wrong else 0.5)

    return pair(forward, rule)


@table("wrong-operand", "gated-recurrent-unit", normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2))
def gated(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, gate: Tensor, candidate: Tensor, h: Tensor) -> Any:
        z, n = torch.sigmoid(gate), torch.tanh(candidate)
        dgate = g * (h if wrong else h - n) * z * (1 - z)
        return dgate, g * (1 - z) * (1 - n * n), g * z

    return module(lambda gate, candidate, h: torch.sigmoid(gate) * (h - candidate.tanh()) + candidate.tanh(), rule)


@table("constant-factor", "gumbel-softmax-temperature", normal(5, 4), 0.7)
def temperature(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor, tau: float) -> Any:
        inner = out * (g - (g * out).sum(-1, keepdim=True))
        return inner if wrong else inner / tau, None

    return function(lambda x, tau: torch.softmax(x / tau, -1), rule)


@table("missing-gradient", "learned-bounds", normal(6, 5), -positive(5), positive(5, seed=1))
def learned_bounds(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor, low: Tensor, high: Tensor) -> Any:
        inside = g * ((x > low) & (x < high))
        if wrong:
            return inside, None, None
        return (
            inside,
            (g * ((x <= low) & (low < high))).sum_to_size(low.shape),
            (g * (torch.maximum(x, low) >= high)).sum_to_size(high.shape),
        )

    return function(lambda x, low, high: torch.minimum(torch.maximum(x, low), high), rule)


@table("missing-broadcast-sum", "learned-swish", normal(4, 3), positive(1))
def learned_swish(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor, beta: Tensor) -> Any:
        s = torch.sigmoid(beta * x)
        dbeta = g * x * x * s * (1 - s)
        return g * (s + beta * x * s * (1 - s)), dbeta if wrong else dbeta.sum_to_size(beta.shape)

    return pair(lambda x, beta: x * torch.sigmoid(beta * x), rule)


@table("stale-state", "causal-mask-cache", normal(4, 4))
def mask_cache(wrong: bool) -> Any:
    kept: dict[str, Tensor] = {}

    def forward(x: Tensor) -> Tensor:
        y = torch.softmax(x.tril() - 1e9 * torch.ones_like(x).triu(1), -1)
        kept["y"] = y.detach()
        return y

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        y = kept["y"] if wrong else out
        return y * (g - (g * y).sum(-1, keepdim=True))

    return function(forward, rule)


@table("upstream-scalarized", "contrastive-loss", normal(4, 3), normal(4, 3, seed=1))
def contrastive(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        p = torch.softmax(a @ b.mT, -1)
        d = (p - torch.eye(len(a), dtype=a.dtype)) * (g.mean() if wrong else g.unsqueeze(-1))
        return d @ b, d.mT @ a

    return function(lambda a, b: -torch.log_softmax(a @ b.mT, -1).diagonal(), rule)


@table("output-gradient-dropped", "vector-quantisation", normal(6, 3), normal(4, 3, seed=1))
def quantisation(wrong: bool) -> Any:
    def forward(x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        near = codes[torch.cdist(x, codes).argmin(-1)]
        return near, (x - near).square().mean(-1)

    def rule(g: Any, out: Any, x: Tensor, codes: Tensor) -> Any:
        d = 0 * x if wrong else 2 * g[1].unsqueeze(-1) * (x - out[0]) / x.shape[-1]
        index = torch.cdist(x, codes).argmin(-1)
        return d, torch.zeros_like(codes).index_add(0, index, g[0] - d)

    return pair(forward, rule)


ROWS = table.rows
