"""Sound backwards of linear algebra: products, solves, distances, forms."""

from typing import Any

import torch
from torch import Tensor

from tests.random_sound.draws import WIDE, Draw
from tests.random_sound.forms import Rule, in_float32, sound, sum_to


@sound()
def matrix_product(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    def plain(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        return sum_to(g @ b.mT, a.shape), sum_to(a.mT @ g, b.shape)

    def by_sums(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        da = (g.unsqueeze(-2) * b.unsqueeze(-3)).sum(-1)
        db = (a.unsqueeze(-1) * g.unsqueeze(-2)).sum(-3)
        return sum_to(da, a.shape), sum_to(db, b.shape)

    batch, (m, k, n) = draw.shape(0, 1), (draw.size(1, 4) for _ in range(3))
    inputs = (draw.real(*batch, m, k), draw.real(*draw.broadcast(batch), k, n))
    return Rule(forward, in_float32(draw.alternatives(plain, by_sums)), inputs)


@sound()
def dense(draw: Draw) -> Rule:
    def forward(x: Tensor, W: Tensor, b: Tensor) -> Tensor:
        return torch.nn.functional.linear(x, W, b)

    def flat(g: Tensor, y: Tensor, x: Tensor, W: Tensor, b: Tensor) -> Any:
        rows = g.flatten(0, -2)
        return g @ W, rows.T @ x.flatten(0, -2), rows.sum(0)

    def by_ones(g: Tensor, y: Tensor, x: Tensor, W: Tensor, b: Tensor) -> Any:
        rows, points = g.flatten(0, -2), x.flatten(0, -2)
        ones = torch.ones(1, rows.shape[0], dtype=g.dtype)
        return (rows @ W).reshape(x.shape), (points.T @ rows).T, (ones @ rows).squeeze(0)

    batch, d, e = draw.shape(1, 2), draw.size(1, 4), draw.size(1, 4)
    inputs = (draw.real(*batch, d), draw.real(e, d), draw.real(e))
    return Rule(forward, in_float32(draw.alternatives(flat, by_ones)), inputs)


@sound(dtypes=WIDE)
def bilinear(draw: Draw) -> Rule:
    def forward(x: Tensor, W: Tensor, z: Tensor) -> Tensor:
        return torch.einsum("bi,kij,bj->bk", x, W, z)

    def backward(g: Tensor, y: Tensor, x: Tensor, W: Tensor, z: Tensor) -> Any:
        dx = torch.einsum("bk,kij,bj->bi", g, W, z)
        dW = torch.einsum("bk,bi,bj->kij", g, x, z)
        return dx, dW, torch.einsum("bk,kij,bi->bj", g, W, x)

    b, i, j, k = (draw.size(1, 3) for _ in range(4))
    return Rule(forward, backward, (draw.real(b, i), draw.real(k, i, j), draw.real(b, j)))


@sound()
def outer(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a.unsqueeze(-1) * b.unsqueeze(-2)

    def backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        return (g @ b.unsqueeze(-1)).squeeze(-1), (a.unsqueeze(-2) @ g).squeeze(-2)

    batch = draw.shape(0, 1, smallest=1)
    return Rule(forward, in_float32(backward), (draw.real(*batch, draw.size()), draw.real(*batch, draw.size())))


@sound(dtypes=WIDE)
def regularised_solve(draw: Draw) -> Rule:
    n = draw.size(1, 3)
    return Rule(ridge, ridge_backward, (draw.real(n, draw.size(1, 3), kind="ordinary"), draw.real(n, draw.size(1, 2))))


def ridge(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.solve(a @ a.mT + torch.eye(a.shape[-2], dtype=a.dtype), b)


def ridge_backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
    db = torch.linalg.solve(a @ a.mT + torch.eye(a.shape[-2], dtype=a.dtype), g)
    dm = -db @ y.mT
    return (dm + dm.mT) @ a, db


@sound(dtypes=WIDE)
def inverse(draw: Draw) -> Rule:
    def forward(a: Tensor) -> Tensor:
        return torch.linalg.inv(a)

    def backward(g: Tensor, y: Tensor, a: Tensor) -> Any:
        return (-y.mT @ g @ y.mT,)

    n = draw.size(1, 3)
    return Rule(forward, backward, (draw.real(n, n, kind="ordinary") + 3 * torch.eye(n, dtype=draw.dtype),))


@sound(dtypes=WIDE)
def log_volume(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return torch.logdet(x.mT @ x + torch.eye(x.shape[-1], dtype=x.dtype))

    def by_inverse(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (2 * g[..., None, None] * x @ torch.linalg.inv(x.mT @ x + torch.eye(x.shape[-1], dtype=x.dtype)),)

    def by_solve(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return (2 * g[..., None, None] * torch.linalg.solve(x.mT @ x + torch.eye(x.shape[-1], dtype=x.dtype), x.mT).mT,)

    return Rule(
        forward, draw.alternatives(by_inverse, by_solve), (draw.real(draw.size(1, 4), draw.size(1, 3), kind="ordinary"),)
    )


@sound()
def quadratic_form(draw: Draw) -> Rule:
    def forward(x: Tensor, A: Tensor) -> Tensor:
        return ((x @ A) * x).sum(-1)

    def backward(g: Tensor, y: Tensor, x: Tensor, A: Tensor) -> Any:
        weighted = g.unsqueeze(-1) * x
        return weighted @ (A + A.mT), x.mT @ weighted

    n, d = draw.size(1, 4), draw.size(1, 4)
    return Rule(forward, in_float32(backward), (draw.real(n, d), draw.real(d, d)))


@sound()
def trace_of_product(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return (a * b.mT).sum((-2, -1))

    def backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Any:
        return g[..., None, None] * b.mT, g[..., None, None] * a.mT

    batch, m, n = draw.shape(0, 1), draw.size(1, 4), draw.size(1, 4)
    return Rule(forward, in_float32(backward), (draw.real(*batch, m, n), draw.real(*batch, n, m)))


@sound()
def squared_distances(draw: Draw) -> Rule:
    def forward(x: Tensor, c: Tensor) -> Tensor:
        return (x.unsqueeze(1) - c).square().sum(-1)

    def by_difference(g: Tensor, y: Tensor, x: Tensor, c: Tensor) -> Any:
        weighted = 2 * g.unsqueeze(-1) * (x.unsqueeze(1) - c)
        return weighted.sum(1), -weighted.sum(0)

    n, k, d = draw.size(1, 4), draw.size(1, 4), draw.size(1, 3)
    return Rule(forward, in_float32(by_difference), (draw.real(n, d), draw.real(k, d)))


@sound(dtypes=WIDE)
def cosine_similarity(draw: Draw) -> Rule:
    def forward(a: Tensor, b: Tensor, eps: float = 1e-3) -> Tensor:
        return (a * b).sum(-1) / torch.sqrt((a.square().sum(-1) + eps) * (b.square().sum(-1) + eps))

    def backward(g: Tensor, y: Tensor, a: Tensor, b: Tensor, eps: float = 1e-3) -> Any:
        g, y = g.unsqueeze(-1), y.unsqueeze(-1)
        na, nb = (a * a).sum(-1, keepdim=True) + eps, (b * b).sum(-1, keepdim=True) + eps
        both = torch.rsqrt(na * nb)
        return g * (b * both - y * a / na), g * (a * both - y * b / nb)

    shape = draw.shape(1, 2, smallest=1)
    return Rule(forward, backward, (draw.real(*shape), draw.real(*shape)), {"eps": draw.of((1e-3, 0.1))})


@sound()
def gram(draw: Draw) -> Rule:
    def forward(x: Tensor) -> Tensor:
        return x @ x.mT

    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        return ((g + g.mT) @ x,)

    return Rule(forward, in_float32(backward), (draw.real(*draw.shape(0, 1), draw.size(1, 4), draw.size(1, 4)),))


@sound(dtypes=WIDE)
def triangle(draw: Draw) -> Rule:
    def forward(a: Tensor, x: Tensor) -> Tensor:
        return torch.tril(a, -1) @ x + x

    def backward(g: Tensor, y: Tensor, a: Tensor, x: Tensor) -> Any:
        return torch.tril(g @ x.mT, -1), torch.tril(a, -1).mT @ g + g

    n = draw.size(1, 4)
    return Rule(forward, backward, (draw.real(n, n), draw.real(n, draw.size(1, 3))))


@sound(dtypes=WIDE)
def low_rank_update(draw: Draw) -> Rule:
    def forward(x: Tensor, W: Tensor, A: Tensor, B: Tensor, scale: float = 1.0) -> Tensor:
        return x @ W.T + scale * (x @ A.T) @ B.T

    def backward(g: Tensor, y: Tensor, x: Tensor, W: Tensor, A: Tensor, B: Tensor, scale: float = 1.0) -> Any:
        gB, xA = g @ B, x @ A.T
        return g @ W + scale * (gB @ A), g.T @ x, scale * gB.T @ x, scale * g.T @ xA

    n, d, e, r = draw.size(1, 4), draw.size(1, 4), draw.size(1, 4), draw.size(1, 2)
    inputs = (draw.real(n, d), draw.real(e, d), draw.real(r, d), draw.real(e, r))
    return Rule(forward, backward, inputs, {"scale": draw.number(0.5, 2)})
