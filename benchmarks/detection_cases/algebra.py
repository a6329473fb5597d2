"""Wrong and sound backwards of linear algebra, transforms and geometry that no test of the toolkit has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.detection_forms import function, layer, module, operator, pair
from tests.mistakes.registry import Table, complex_normal, normal, positive

table = Table()
MATRIX = normal(4, 4) + 3 * torch.eye(4, dtype=torch.float64)


@table("transposed", "log-determinant", MATRIX)
def log_determinant(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, a: Tensor) -> Any:
        inverse = torch.linalg.inv(a)
        return g[..., None, None] * (inverse if wrong else inverse.mT)

    return function(torch.logdet, rule)


@table("sign", "linear-solve", MATRIX, normal(4, 2, seed=1))
def solve(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        db = torch.linalg.solve(a.mT, g)
        return (db if wrong else -db) @ out.mT, db

    return pair(torch.linalg.solve, rule)


@table("wrong-operand", "inverse", MATRIX)
def inverse(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, a: Tensor) -> Any:
        return (-out @ g @ out if wrong else -out.mT @ g @ out.mT,)

    return layer(torch.linalg.inv, rule)


@table("missing-factor", "determinant", MATRIX)
def determinant(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, a: Tensor) -> Any:
        grad = torch.linalg.inv(a).mT * g[..., None, None]
        return (grad if wrong else grad * out[..., None, None],)

    return pair(torch.linalg.det, rule)


@table("constant-factor", "gram-matrix", normal(3, 5))
def gram(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return (2 * g * x @ (x.mT @ x)) * (1 if wrong else 2)

    return function(lambda x: (x @ x.mT).square().sum(), rule)


@table("sign", "cross-product", normal(5, 3), normal(5, 3, seed=1))
def cross(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        return torch.linalg.cross(b, g), torch.linalg.cross(a, g) if wrong else torch.linalg.cross(g, a)

    return operator(lambda a, b: torch.linalg.cross(a, b), rule)


@table("wrong-value", "quaternion-product", normal(5, 4), normal(5, 4, seed=1))
def quaternions(wrong: bool) -> Any:
    def product(p: Tensor, q: Tensor) -> Tensor:
        a, u, b, v = p[..., :1], p[..., 1:], q[..., :1], q[..., 1:]
        return torch.cat([a * b - (u * v).sum(-1, keepdim=True), a * v + b * u + torch.linalg.cross(u, v)], -1)

    def conjugate(q: Tensor) -> Tensor:
        return q * torch.tensor([1, -1, -1, -1], dtype=q.dtype)

    return function(product, lambda g, out, p, q: (product(g, conjugate(q)), product(p if wrong else conjugate(p), g)))


@table("missing-conjugate|permuted|wrong-value", "power-spectrum", normal(3, 8))
def power_spectrum(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        spectrum = torch.fft.fft(x) * g
        back = torch.fft.fft(spectrum) if wrong else torch.fft.ifft(spectrum) * x.shape[-1]
        return (2 * back.real,)

    return pair(lambda x: torch.fft.fft(x).abs().square(), rule)


@table("missing-conjugate", "complex-quotient", complex_normal(4, 3), complex_normal(4, 3, seed=1) + 2)
def complex_quotient(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        da = g / (b if wrong else b.conj())
        return da, -(g / b.conj()) * out.conj()

    return layer(lambda a, b: a / b, rule)


@table("permuted|wrong-value", "circular-convolution", normal(3, 7), normal(7, seed=1))
def circular(wrong: bool) -> Any:
    def convolved(x: Tensor, h: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(h), n=x.shape[-1])

    def turned(h: Tensor) -> Tensor:
        return h.flip(-1).roll(1, -1)

    def rule(g: Tensor, out: Tensor, x: Tensor, h: Tensor) -> Any:
        dh = convolved(g, x if wrong else turned(x))
        return convolved(g, turned(h)), dh.sum_to_size(h.shape)

    def forward(x: Tensor, h: Tensor) -> Tensor:
        if x.shape[-1] != h.shape[-1] or x.shape[-1] < 2:
            raise ValueError("a filter as long as the signal")
        return convolved(x, h)

    return function(forward, rule)


@table("constant-factor", "pair-energy", normal(5, 3))
def pair_energy(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        d = x.unsqueeze(-2) - x.unsqueeze(-3)
        energy = torch.exp(-d.square().sum(-1, keepdim=True))
        return (-2 * g * (d * energy).sum(-2) * (1 if wrong else 2),)

    def forward(x: Tensor) -> Tensor:
        return torch.exp(-(x.unsqueeze(-2) - x.unsqueeze(-3)).square().sum(-1)).sum()

    return module(forward, rule)


@table("slots-swapped", "outer-product", normal(4), normal(4, seed=1))
def outer(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        grads = g @ b, g.mT @ a
        return grads[::-1] if wrong else grads

    return function(torch.outer, rule)


@table("wrong-operand|wrong-value|wrong-axis|transposed", "row-products", normal(4, 4), normal(4, seed=1))
def diagonal_product(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor, d: Tensor) -> Any:
        return g * (d if wrong else d.unsqueeze(-1)), (g * x).sum(-1)

    def forward(x: Tensor, d: Tensor) -> Tensor:
        if d.ndim != 1:
            raise ValueError("a vector of diagonal entries")
        return d.unsqueeze(-1) * x

    return pair(forward, rule)


@table("unwritten-elements|zero-gradient|wrong-value", "reflected-padding", normal(3, 6))
def padding(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        dx = g[..., 2:-2].clone()
        if not wrong:
            dx[..., 1:3] += g[..., :2].flip(-1)
            dx[..., -3:-1] += g[..., -2:].flip(-1)
        return (dx,)

    return layer(lambda x: F.pad(x, (2, 2), mode="reflect"), rule)


@table("wrong-operand", "symmetric-square-root", positive(5, 4))
def root_of_square(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        return g * (1 + 2 * x) / (2 * (x if wrong else out))

    return operator(lambda x: (x + x.square()).sqrt(), rule)


@table("non-finite", "cumulative-product", normal(3, 5))
def cumulative_product(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        if wrong:
            return ((g * out).flip(-1).cumsum(-1).flip(-1) / x,)
        parts = []
        for j in range(x.shape[-1]):
            others = torch.cat([x[..., :j], torch.ones_like(x[..., :1]), x[..., j + 1 :]], -1).cumprod(-1)
            parts.append((g * others)[..., j:].sum(-1))
        return (torch.stack(parts, -1) if parts else torch.zeros_like(x),)

    return pair(lambda x: x.cumprod(-1), rule)


@table("input-layout|upstream-layout", "channels-last-kernel", normal(2, 3, 2, 2))
def channels_last(wrong: bool) -> Any:
    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        if wrong and x.stride() != x.contiguous().stride():
            x = torch.as_strided(x, (x.numel(),), (1,)).view(x.shape) if x.is_non_overlapping_and_dense() else x
        return (2 * g * x,)

    return function(lambda x: x.square(), rule)


ROWS = table.rows
