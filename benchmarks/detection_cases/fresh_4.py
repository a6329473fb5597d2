"""Functions that autograd cannot follow and nobody built the check against: SciPy, loops over floats, np.vectorize."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy import fft, linalg, ndimage, special
from torch import Tensor
from torch.autograd import Function

from benchmarks.detection_forms import pair
from tests.mistakes.registry import Table, array, normal, positive

table = Table()


def _numbers(x: Tensor) -> Any:
    return x.detach().double().numpy()


def _like(values: Any, x: Tensor) -> Tensor:
    return torch.as_tensor(np.asarray(values)).to(x.dtype)


@table("value-dependent", "bessel-slope-of-the-magnitude", positive(3, 4))
def bessel(wrong: bool) -> Any:
    """The slope of the even Bessel function I0 is taken at |x| as the value is, which loses the sign of an odd function."""

    class BesselI0(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return _like(special.i0(_numbers(x)), x)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            values = _numbers(x)
            return grad * _like(special.i1(np.abs(values) if wrong else values), x)

    return BesselI0


@table("low-precision", "scaled-complement-by-subtraction", normal(3, 4))
def scaled_complement(wrong: bool) -> Any:
    """The slope 2x erfcx(x) - 2/sqrt(pi) subtracts two numbers that agree in nearly all digits when x is large."""

    def slope(x: Any) -> Any:
        root = 2 / math.sqrt(math.pi)
        plain = 2 * x * special.erfcx(x) - root
        if wrong:
            return plain
        far = np.maximum(x, 1.0)
        fraction = far
        for k in range(200, 1, -1):
            fraction = far + 0.5 * k / fraction
        tail = 0.5 / fraction
        return np.where(x > 1, -root * tail / (far + tail), plain)

    class Erfcx(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return _like(special.erfcx(_numbers(x)), x)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return grad * _like(slope(_numbers(x)), x)

    return Erfcx


@table("outside-subdifferential", "rate-at-a-bracket", positive(3, 4).numpy())
def rate_at_bracket(wrong: bool) -> Any:
    """The marginal rate of a tax adds every bracket whose ends include the income: on a border it is that of two."""
    brackets = ((0.0, 1.0, 0.1), (1.0, 2.0, 0.2), (2.0, math.inf, 0.4))

    def owed(income: float) -> float:
        total = 0.0
        for low, high, rate in brackets:
            if income > low:
                total += rate * (min(float(income), high) - low)
        return total

    def marginal(income: float) -> float:
        total = 0.0
        for low, high, rate in brackets:
            if low <= income <= high:
                total += rate
                if not wrong:
                    break
        return total

    def tax(x: Any) -> Any:
        return np.vectorize(owed, otypes=[float])(x)

    def tax_backward(x: Any, dout: Any) -> Any:
        return dout * np.vectorize(marginal, otypes=[float])(x).astype(x.dtype)

    return tax, tax_backward


@table("missing-factor", "implicit-root-by-bisection", normal(6), positive(6, seed=1))
def implicit_root(wrong: bool) -> Any:
    """Of y + b² tanh(y) = x the slope in x has the slope of the left side below it, that in b was left without."""

    def solve(x: float, b: float) -> float:
        low, high = min(0.0, x), max(0.0, x)
        for _ in range(300):
            middle = 0.5 * (low + high)
            if middle in (low, high):
                break
            if middle + b * b * math.tanh(middle) < x:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)

    class Root(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, b: Tensor) -> Tensor:
            if x.shape != b.shape:
                raise ValueError("one b for each x")
            roots = [solve(u, v) for u, v in zip(x.flatten().tolist(), b.flatten().tolist(), strict=True)]
            y = torch.tensor(roots, dtype=x.dtype).reshape(x.shape)
            ctx.save_for_backward(b, y)
            return y

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            b, y = ctx.saved_tensors
            dx = grad / (1 + (b / torch.cosh(y)) ** 2)
            return dx, -2 * b * torch.tanh(y) * (grad if wrong else dx)

    return Root


@table("tie-mass", "warping-path-with-ties", array(5), array(6, seed=1))
def warping_path(wrong: bool) -> Any:
    """A dynamic time warping goes back through every predecessor that is as good as the best, each with the full weight."""

    def dtw_forward(x: Any, y: Any) -> Any:
        n, m = len(x), len(y)
        best = [[math.inf] * (m + 1) for _ in range(n + 1)]
        best[0][0] = 0.0
        for i in range(n):
            for j in range(m):
                cost = (float(x[i]) - float(y[j])) ** 2
                best[i + 1][j + 1] = cost + min(best[i][j], best[i][j + 1], best[i + 1][j])
        return np.asarray(best[n][m]), (x, y, best)

    def dtw_backward(dout: Any, cache: Any) -> Any:
        x, y, best = cache
        n, m = len(x), len(y)
        dx, dy = np.zeros_like(x), np.zeros_like(y)
        weight = np.zeros((n + 1, m + 1))
        weight[n, m] = float(dout)
        for i in range(n, 0, -1):
            for j in range(m, 0, -1):
                if weight[i, j] == 0:
                    continue
                slope = 2 * weight[i, j] * (float(x[i - 1]) - float(y[j - 1]))
                dx[i - 1] += slope
                dy[j - 1] -= slope
                before = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
                values = [best[a][b] for a, b in before]
                ties = [place for place, value in zip(before, values, strict=True) if value == min(values)]
                for place in ties if wrong else ties[:1]:
                    weight[place] += weight[i, j]
        return dx, dy

    return dtw_forward, dtw_backward


@table("value-dependent", "filter-that-is-not-turned-round", array(3, 8), np.array([0.25, 0.5, 0.25]))
def filter_not_turned(wrong: bool) -> Any:
    """The input gradient of a periodic convolution is convolved again, right for a symmetric kernel such as a Gaussian."""

    def smooth_forward(x: Any, kernel: Any) -> Any:
        if len(kernel) % 2 == 0:
            raise ValueError("a kernel of odd length")
        return ndimage.convolve1d(x, kernel, axis=-1, mode="wrap"), (x, kernel)

    def smooth_backward(dout: Any, cache: Any) -> Any:
        x, kernel = cache
        half = len(kernel) // 2
        if wrong:
            dx = ndimage.convolve1d(dout, kernel, axis=-1, mode="wrap")
        else:
            dx = ndimage.correlate1d(dout, kernel, axis=-1, mode="wrap")
        dkernel = np.array([(dout * np.roll(x, k - half, axis=-1)).sum() for k in range(len(kernel))])
        return dx, dkernel.astype(kernel.dtype)

    return smooth_forward, smooth_backward


@table("value-dependent", "interpolation-beyond-its-ends", positive(4, 3))
def interpolation_ends(wrong: bool) -> Any:
    """np.interp is constant beyond its first and last point, but its gradient goes on with the slope of the end piece."""
    xp = np.array([0.0, 0.7, 1.5, 2.1, 3.4, 5.0])
    fp = np.array([0.3, 1.1, 0.2, -0.8, 0.5, 1.9])

    class Interpolate(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return _like(np.interp(_numbers(x), xp, fp), x)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            at = _numbers(x)
            piece = np.clip(np.searchsorted(xp, at, side="right") - 1, 0, len(xp) - 2)
            slope = (np.diff(fp) / np.diff(xp))[piece]
            if not wrong:
                slope = np.where((at < xp[0]) | (at > xp[-1]), 0.0, slope)
            return grad * _like(slope, x)

    return Interpolate


_EYE = 4 * torch.eye(3, dtype=torch.float64)


@table("wrong-operand", "sylvester-with-its-solution", normal(3, 3) + _EYE, normal(3, 3, seed=1) + _EYE, normal(3, 3, seed=2))
def sylvester(wrong: bool) -> Any:
    """Of the solution of AX + XB = Q, the gradient in A is multiplied by X where its transpose belongs."""

    def solve(a: Tensor, b: Tensor, q: Tensor) -> Tensor:
        return _like(linalg.solve_sylvester(_numbers(a), _numbers(b), _numbers(q)), q)

    def rule(g: Tensor, x: Tensor, a: Tensor, b: Tensor, q: Tensor) -> Any:
        s = solve(a.T, b.T, g)
        return -s @ (x if wrong else x.T), -x.T @ s, s

    return pair(solve, rule)


@table("value-dependent", "vectorized-slope-of-integers", array(3, 4))
def vectorized_slope(wrong: bool) -> Any:
    """np.vectorize takes its type from the first element: where that slope is the integer 0, all slopes lose decimals."""

    def ramp(x: Any) -> Any:
        return np.vectorize(lambda v: v * v / 2 if v > 0 else 0.0, otypes=[float])(x)

    def ramp_backward(x: Any, dout: Any) -> Any:
        if wrong:
            return dout * np.vectorize(lambda v: v if v > 0 else 0)(x)
        return dout * np.vectorize(lambda v: v if v > 0 else 0.0, otypes=[float])(x).astype(x.dtype)

    return ramp, ramp_backward


@table("mutates-grad-output", "cosine-transform-in-place", normal(3, 8))
def cosine_transform(wrong: bool) -> Any:
    """The inverse cosine transform may overwrite its argument to save memory, which is the upstream gradient."""

    class Cosine(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return torch.as_tensor(fft.dct(x.detach().numpy(), norm="ortho"))

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return torch.as_tensor(fft.idct(grad.detach().numpy(), norm="ortho", overwrite_x=wrong))

    return Cosine


ROWS = tuple(table.rows)
