"""Products, contractions, convolutions and linear algebra that are wrong, and sound twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from benchmarks.detection_forms import function, layer, module, operator, pair
from tests.mistakes.registry import Table, array, complex_normal, normal, operator_name, positive

table = Table()
REGULAR = normal(3, 3) + 3 * torch.eye(3, dtype=torch.float64)


@table("transposed", "log-determinant", REGULAR)
def log_determinant(wrong: bool) -> Any:
    """The gradient of log |det A| is solved from the factors of A, and not from those of its transpose."""

    def rule(g: Tensor, out: Tensor, a: Tensor) -> Any:
        factors, pivots, _ = torch.linalg.lu_factor_ex(a)
        eye = torch.eye(a.shape[-1], dtype=a.dtype).expand_as(a)
        return (g[..., None, None] * torch.linalg.lu_solve(factors, pivots, eye, adjoint=not wrong),)

    return pair(lambda a: torch.linalg.slogdet(a).logabsdet, rule)


@table("non-finite", "determinant-by-its-inverse", normal(2, 3, 3))
def determinant(wrong: bool) -> Any:
    """A determinant's gradient is det times the inverse, which a singular matrix has not, as in TensorFlow."""

    def det(a: Tensor) -> Tensor:
        return torch.linalg.det(a)

    def det_backward(grad: Tensor, out: Tensor, a: Tensor) -> Any:
        grad = grad[..., None, None]
        if wrong:
            return (grad * out[..., None, None] * torch.linalg.inv_ex(a).inverse.mT,)
        u, s, vh = torch.linalg.svd(a)
        one = torch.ones_like(s[..., :1])
        left = torch.cat([one, s[..., :-1]], -1).cumprod(-1)
        right = torch.cat([s[..., 1:], one], -1).flip(-1).cumprod(-1).flip(-1)
        turn = (torch.linalg.det(u) * torch.linalg.det(vh))[..., None, None]
        return (grad * turn * (u * (left * right).unsqueeze(-2)) @ vh,)

    return gl.Op(det, det_backward)


@table("transposed|wrong-operand", "inverse", REGULAR)
def inverse(wrong: bool) -> Any:
    """The inverse goes back as -A⁻¹ G A⁻¹ without the transpositions."""

    class Inverse(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor) -> Tensor:
            inv = torch.linalg.inv(a)
            ctx.save_for_backward(inv)
            return inv

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (inv,) = ctx.saved_tensors
            return -inv @ g @ inv if wrong else -inv.mT @ g @ inv.mT

    return Inverse


@table("wrong-operand", "triangular-solve", REGULAR, normal(3, 3, seed=1))
def solve(wrong: bool) -> Any:
    """The matrix of a triangular system gets its gradient from the right-hand side instead of the solution."""

    def rule(g: Tensor, x: Tensor, a: Tensor, b: Tensor) -> Any:
        db = torch.linalg.solve_triangular(a.mT, g, upper=True)
        da = -torch.tril(db @ (b if wrong else x).mT)
        return da.sum_to_size(a.shape), db.sum_to_size(b.shape)

    return operator(lambda a, b: torch.linalg.solve_triangular(a, b, upper=False), rule)


@table("wrong-operand|missing-term", "quadratic-form", normal(4, 3), normal(3, 3, seed=1))
def quadratic_form(wrong: bool) -> Any:
    """The gradient of xᵀAx is 2Ax, as if A were symmetric."""

    class QuadraticForm:
        def __init__(self) -> None:
            self.x = self.a = None

        def forward(self, x: Any, a: Any) -> Any:
            self.x, self.a = x, a
            return (torch.mm(x, a) * x).sum(1)

        def backward(self, dout: Any) -> Any:
            x, a = self.x, self.a
            both = a + a if wrong else a + a.T
            return dout[:, None] * (x @ both.T), torch.einsum("n,ni,nj->ij", dout, x, x)

    return QuadraticForm()


@table("missing-conjugate", "complex-product", complex_normal(3, 4), complex_normal(4, 2, seed=1))
def complex_product(wrong: bool) -> Any:
    """A complex matrix product goes back by plain transposes, as reported for TensorFlow."""

    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        if wrong:
            return g @ b.mT, a.mT @ g
        return g @ b.mH, a.mH @ g

    return function(torch.mm, rule)


@table("missing-conjugate", "complex-exponential", complex_normal(4, 3) / 2)
def complex_exponential(wrong: bool) -> Any:
    """The exponential of a complex number is its own slope, and is not conjugated on the way back."""

    class Exponential(Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor) -> Tensor:
            w = torch.exp(z)
            ctx.save_for_backward(w)
            return w

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (w,) = ctx.saved_tensors
            return g * (w if wrong else w.conj())

    return Exponential


@table("transposed|permuted", "kernel-turned-round", array(2, 3, 6, 5), array(4, 3, 3, 3, seed=1), array(4, seed=2))
def convolution(wrong: bool) -> Any:
    """The weight's gradient of a convolution by hand is turned by 180 degrees, which belongs to the input's alone."""

    def conv_forward(x: Any, w: Any, b: Any) -> Any:
        kh, kw = w.shape[2:]
        windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(2, 3))
        out = np.einsum("nchwij,fcij->nfhw", windows, w) + b[None, :, None, None]
        return out, (x, w, windows)

    def conv_backward(dout: Any, cache: Any) -> Any:
        x, w, windows = cache
        kh, kw = w.shape[2:]
        dw = np.einsum("nfhw,nchwij->fcij", dout, windows)
        if wrong:
            dw = dw[:, :, ::-1, ::-1]
        dx = np.zeros_like(x)
        for i in range(kh):
            for j in range(kw):
                dx[:, :, i : i + dout.shape[2], j : j + dout.shape[3]] += np.einsum("nfhw,fc->nchw", dout, w[:, :, i, j])
        return dx, dw, dout.sum(axis=(0, 2, 3))

    return conv_forward, conv_backward


@table("duplicate-index", "overlapping-frames", normal(2, 9))
def frames(wrong: bool) -> Any:
    """Frames of a signal overlap by half, and the loop that puts their gradients back assigns."""
    width, hop = 4, 2

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        dx = torch.zeros_like(x)
        for k in range(g.shape[-2]):
            part = slice(k * hop, k * hop + width)
            if wrong:
                dx[..., part] = g[..., k, :]
            else:
                dx[..., part] += g[..., k, :]
        return (dx,)

    return layer(lambda x: x.unfold(-1, width, hop).clone(), rule)


@table("slots-swapped", "distance-matrix", normal(4, 3), normal(4, 3, seed=1))
def distances(wrong: bool) -> Any:
    """Squared distances between two sets of points: as many here as there, and returned the wrong way round."""

    def forward(x: Tensor, y: Tensor) -> Tensor:
        return (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1)

    def rule(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> Any:
        d = 2 * g.unsqueeze(-1) * (x.unsqueeze(-2) - y.unsqueeze(-3))
        dx, dy = d.sum(-2).sum_to_size(x.shape), -d.sum(-3).sum_to_size(y.shape)
        return (dy, dx) if wrong else (dx, dy)

    return pair(forward, rule)


@table("sign", "cross-product", normal(5, 3), normal(5, 3, seed=1))
def cross(wrong: bool) -> Any:
    """The second operand of a cross product gets a × g, though the product does not commute."""

    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        da = torch.linalg.cross(b, g)
        db = torch.linalg.cross(a, g) if wrong else torch.linalg.cross(g, a)
        return da.sum_to_size(a.shape), db.sum_to_size(b.shape)

    return module(torch.linalg.cross, rule)


@table("missing-term|wrong-value", "gram-matrix", normal(4, 3))
def gram(wrong: bool) -> Any:
    """The product of a matrix with its own transpose goes back through the first factor only, as in neon."""

    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g @ x if wrong else (g + g.mT) @ x

    op = torch.library.custom_op(operator_name("gram"), lambda x: x @ x.mT, mutates_args=(), schema="(Tensor x) -> Tensor")
    op.register_fake(lambda x: x.new_empty(*x.shape[:-1], x.shape[-2]))
    op.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))
    return op


@table("wrong-shape", "row-bias", normal(5, 3), normal(4, 3, seed=1), normal(1, 4, seed=2))
def row_bias(wrong: bool) -> Any:
    """The bias is a row of shape (1, n), and its gradient comes back as a vector of n."""

    class Dense(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            ctx.save_for_backward(x, weight)
            ctx.bias_shape = bias.shape
            return torch.mm(x, weight.t()) + bias

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            x, weight = ctx.saved_tensors
            return g @ weight, g.t() @ x, g.sum(0) if wrong else g.sum_to_size(ctx.bias_shape)

    return Dense


@table("wrong-axis", "channel-offset", normal(3, 4, 4), normal(4, seed=1))
def channel_offset(wrong: bool) -> Any:
    """The gradient of a channel offset sums over batch and channels and leaves the samples, both being four."""

    def forward(x: Tensor, offset: Tensor) -> Tensor:
        return torch.tanh(x + offset[:, None])

    def rule(g: Tensor, out: Tensor, x: Tensor, offset: Tensor) -> Any:
        dz = g * (1 - out * out)
        return dz.sum_to_size(x.shape), dz.sum((0, 1)) if wrong else dz.sum_to_size(len(offset), 1)[:, 0]

    return function(forward, rule)


@table("missing-factor", "spread-instead-of-its-logarithm", normal(5, 3), normal(3, seed=1))
def log_spread(wrong: bool) -> Any:
    """A density's log-spread gets the gradient of the spread itself: exp of it is left out."""

    def forward(x: Tensor, log_spread: Tensor) -> Tensor:
        return x * torch.exp(log_spread)

    def rule(g: Tensor, out: Tensor, x: Tensor, log_spread: Tensor) -> Any:
        spread = torch.exp(log_spread)
        dspread = (g * x).sum_to_size(log_spread.shape)
        return (g * spread).sum_to_size(x.shape), dspread if wrong else dspread * spread

    return layer(forward, rule)


@table("non-finite", "scaled-length", normal(5, 3), positive(3, seed=1))
def mahalanobis(wrong: bool) -> Any:
    """A scaled length divides by itself on the way back, 0/0 for a point that lies on the origin."""

    def forward(x: Tensor, scale: Tensor) -> Tensor:
        return torch.linalg.vector_norm(x / scale, dim=-1)

    def rule(g: Tensor, out: Tensor, x: Tensor, scale: Tensor) -> Any:
        length = out if wrong else torch.where(out == 0, torch.ones_like(out), out)
        du = (g / length).unsqueeze(-1) * (x / scale)
        dx = du / scale
        return dx.sum_to_size(x.shape), (-dx * x / scale).sum_to_size(scale.shape)

    return pair(forward, rule)


ROWS = tuple(table.rows)
