"""Forwards that leave torch: special functions, scalar loops and roots, which autograd cannot follow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor
from torch.autograd import Function
from torch.library import custom_op

from benchmarks.detection_forms import function, module, pair
from tests.mistakes.registry import Table, array, normal, operator_name, positive

table = Table()


def wide(x: Tensor) -> Any:
    """The numbers of a tensor as a float64 array."""
    return x.detach().double().numpy()


def back(values: Any, like: Tensor) -> Tensor:
    """An array as a new tensor in the dtype of another."""
    return torch.from_numpy(np.array(values, dtype=float, order="C")).to(like.dtype)


@table("non-finite", "opaque-sinc", normal(5, 4))
def sinc(wrong: bool) -> Any:
    """Cardinal sine: the quotient of its derivative is 0/0 at zero, as reported for several frameworks."""

    class Sinc(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return back(np.sinc(wide(x)), x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            a = wide(x)
            if wrong:
                slope = (np.cos(np.pi * a) - np.sinc(a)) / a
            else:
                near = np.abs(a) < 0.03
                z, far = np.pi * a, np.where(near, 1.0, a)
                series = np.pi * z * (-1 / 3 + z**2 / 30 - z**4 / 840 + z**6 / 45360)
                slope = np.where(near, series, (np.cos(np.pi * far) - np.sinc(far)) / far)
            return grad_output * back(slope, x)

    return Sinc


@table("option-specialised", "bessel-order", normal(5, 4))
def bessel(wrong: bool) -> Any:
    """Bessel function of any order whose backward is that of order 0."""

    class Bessel(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, order: int = 0) -> Tensor:
            ctx.save_for_backward(x)
            ctx.order = order
            return back(special.jv(order, wide(x)), x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            a, n = wide(x), ctx.order
            slope = -special.j1(a) if wrong else (special.jv(n - 1, a) - special.jv(n + 1, a)) / 2
            return grad_output * back(slope, x), None

    return Bessel


@table("non-finite", "log-of-normal-tail", normal(5, 4))
def log_ndtr(wrong: bool) -> Any:
    """Logarithm of the normal distribution: density over distribution is 0/0 far in the left tail."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        a = wide(x)
        if wrong:
            ratio = np.exp(-a * a / 2) / math.sqrt(2 * math.pi) / special.ndtr(a)
        else:
            ratio = math.sqrt(2 / math.pi) / special.erfcx(-a / math.sqrt(2))
        return (g * back(ratio, x),)

    return pair(lambda x: back(special.log_ndtr(wide(x)), x), rule)


@table("overflow|non-finite", "log-of-bessel-i0", normal(5, 4))
def log_i0(wrong: bool) -> Any:
    """Normaliser of von Mises: I1/I0 without exponential scaling is inf/inf for large concentrations."""

    def forward(x: Tensor) -> Tensor:
        a = wide(x)
        return back(np.log(special.i0e(a)) + np.abs(a), x)

    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if wrong:
            return g * torch.special.i1(x) / torch.special.i0(x)
        return g * torch.special.i1e(x) / torch.special.i0e(x)

    made: Any = custom_op(operator_name("log_i0"), forward, mutates_args=(), schema="(Tensor x) -> Tensor")
    made.register_fake(lambda x: x.new_empty(x.shape))
    made.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))
    return made


@table("non-finite", "legendre-at-the-ends", np.tanh(array(5, 4)))
def legendre(wrong: bool) -> Any:
    """Legendre polynomial by recurrence: the closed form of the derivative divides by x² - 1."""

    def one(t: float) -> tuple[float, float, float]:
        before, now, slope_before, slope = 1.0, t, 0.0, 1.0
        for k in range(1, 4):
            slope_before, slope = slope, slope_before + (2 * k + 1) * now
            before, now = now, ((2 * k + 1) * t * now - k * before) / (k + 1)
        return now, before, slope

    def legendre_forward(x: Any) -> Any:
        rows = np.array([one(float(t)) for t in x.ravel()]).reshape(*x.shape, 3)
        return rows[..., 0].astype(x.dtype), (x, rows)

    def legendre_backward(dout: Any, cache: Any) -> Any:
        x, rows = cache
        if wrong:
            return dout * 4 * (x * rows[..., 0] - rows[..., 1]) / (x * x - 1)
        return (dout * rows[..., 2]).astype(x.dtype)

    return legendre_forward, legendre_backward


@table("non-finite|value-dependent", "chebyshev-series", torch.tanh(normal(6, 2)), normal(4, seed=1))
def chebyshev(wrong: bool) -> Any:
    """Chebyshev series: the basis as cos(k arccos x) is NaN where the polynomial goes on beyond 1."""

    class Chebyshev(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, c: Tensor) -> Tensor:
            ctx.save_for_backward(x, c)
            return back(np.polynomial.chebyshev.chebval(wide(x), wide(c)), x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, c = ctx.saved_tensors
            a, b, g = wide(x), wide(c), wide(grad_output)
            dx = g * np.polynomial.chebyshev.chebval(a, np.polynomial.chebyshev.chebder(b))
            if wrong:
                basis = np.cos(np.arange(len(b)) * np.arccos(a)[..., None])
            else:
                basis = np.polynomial.chebyshev.chebvander(a, len(b) - 1)
            return back(dx, x), back((g[..., None] * basis).reshape(-1, len(b)).sum(0), c)

    return Chebyshev


@table("non-finite", "lambert-w", positive(5, 4))
def lambert(wrong: bool) -> Any:
    """Product logarithm: W/(x(1+W)) is 0/0 at the origin, where the slope is 1."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        a = wide(x)
        w = special.lambertw(a)
        slope = w / (a * (1 + w)) if wrong else np.exp(-w) / (1 + w)
        return (g * back(slope.real, x),)

    return function(lambda x: back(special.lambertw(wide(x)).real, x), rule)


@table("output-gradient-dropped", "jacobi-elliptic", normal(5, 3))
def elliptic(wrong: bool) -> Any:
    """Jacobi's elliptic functions and the amplitude: what comes from the third output is forgotten."""
    m = 0.3

    class Jacobi(Function):
        @staticmethod
        def forward(ctx: Any, u: Tensor) -> Any:
            outputs = tuple(back(values, u) for values in special.ellipj(wide(u), m))
            ctx.save_for_backward(*outputs[:3])
            return outputs

        @staticmethod
        def backward(ctx: Any, g_sn: Tensor, g_cn: Tensor, g_dn: Tensor, g_amplitude: Tensor) -> Tensor:
            sn, cn, dn = ctx.saved_tensors
            du = g_sn * cn * dn - g_cn * sn * dn + g_amplitude * dn
            if not wrong:
                du = du - m * g_dn * sn * cn
            return du

    return Jacobi


@table("undefined-upstream", "two-bessel-functions", normal(5, 3))
def two_bessels(wrong: bool) -> Any:
    """J0 and J1 together without materialised gradients: an output that no loss uses sends None."""

    class Both(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(x)
            a = wide(x)
            return back(special.j0(a), x), back(special.j1(a), x)

        @staticmethod
        def backward(ctx: Any, first: Any, second: Any) -> Any:
            (x,) = ctx.saved_tensors
            a, total = wide(x), 0.0
            if wrong or first is not None:
                total = total - wide(first) * special.j1(a)
            if wrong or second is not None:
                total = total + wide(second) * (special.j0(a) - special.jv(2, a)) / 2
            return back(total + np.zeros_like(a), x)

    return Both


@table("slots-swapped", "log-of-beta", positive(5, 3), positive(5, 3, seed=1))
def betaln(wrong: bool) -> Any:
    """Logarithm of the beta function: the two gradients come back in each other's place."""

    def backward(ctx: Any, g: Tensor) -> Any:
        a, b = ctx.saved_tensors
        common = torch.digamma(a + b)
        da, db = g * (torch.digamma(a) - common), g * (torch.digamma(b) - common)
        if wrong:
            da, db = db, da
        return da.sum_to_size(a.shape), db.sum_to_size(b.shape)

    made: Any = custom_op(
        operator_name("betaln"),
        lambda a, b: back(special.betaln(wide(a), wide(b)), a),
        mutates_args=(),
        schema="(Tensor a, Tensor b) -> Tensor",
    )
    made.register_fake(lambda a, b: a.new_empty(torch.broadcast_shapes(a.shape, b.shape)))
    made.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))
    return made


@table("missing-broadcast-sum", "log-add-in-bits", normal(4, 3), normal(4, 3, seed=1))
def logaddexp2(wrong: bool) -> Any:
    """Sum of powers of two in the log domain: operands that NumPy broadcasts get a gradient of the output's shape."""

    def rule(g: Tensor, out: Tensor, a: Tensor, b: Tensor) -> Any:
        da, db = g * torch.exp2(a - out), g * torch.exp2(b - out)
        return (da, db) if wrong else (da.sum_to_size(a.shape), db.sum_to_size(b.shape))

    return pair(lambda a, b: back(np.logaddexp2(wide(a), wide(b)), a), rule)


@table("masked-branch|non-finite", "plate-spline", positive(5, 4))
def thin_plate(wrong: bool) -> Any:
    """r² log r, zero for r <= 0: the slope is multiplied by the mask, and zero times NaN stays NaN."""

    def one(r: float) -> float:
        return r * r * math.log(r) if r > 0 else 0.0

    def rule(g: Tensor, out: Tensor, r: Tensor) -> Any:
        a = wide(r)
        if wrong:
            slope = (a > 0) * (2 * a * np.log(a) + a)
        else:
            slope = np.where(a > 0, special.xlogy(2 * a, np.where(a > 0, a, 1.0)) + a, 0.0)
        return (g * back(slope, r),)

    return module(lambda r: back(np.vectorize(one, otypes=[float])(wide(r)), r), rule)


@table("wrong-operand", "kepler", normal(5, 3))
def kepler(wrong: bool) -> Any:
    """Kepler's equation by bisection: implicit derivative taken at the mean anomaly, not at the root."""

    def solve(mean: float, e: float) -> float:
        low, high = mean - e, mean + e
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if middle - e * math.sin(middle) < mean else (low, middle)
        root = (low + high) / 2
        for _ in range(2):
            root -= (root - e * math.sin(root) - mean) / (1 - e * math.cos(root))
        return root

    class Kepler(Function):
        @staticmethod
        def forward(ctx: Any, mean: Tensor, eccentricity: float = 0.3) -> Tensor:
            if not 0 <= eccentricity < 1:
                raise ValueError("an ellipse has an eccentricity from 0 to below 1")
            roots = back([solve(m, eccentricity) for m in mean.flatten().tolist()], mean).reshape(mean.shape)
            ctx.save_for_backward(mean, roots)
            ctx.e = eccentricity
            return roots

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            mean, roots = ctx.saved_tensors
            return grad_output / (1 - ctx.e * torch.cos(mean if wrong else roots)), None

    return Kepler


ROWS = tuple(table.rows)
