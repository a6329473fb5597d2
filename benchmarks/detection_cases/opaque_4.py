"""Forwards that leave torch: what NumPy's shared memory does to inputs, upstream and buffers, and what calls leave behind."""

from __future__ import annotations

import itertools
import math
import operator
from typing import Any

import numpy as np
import torch
from scipy import special
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.autograd import Function

from benchmarks.detection_cases.opaque_1 import back, wide
from benchmarks.detection_forms import function, layer, module
from tests.mistakes.registry import Table, array, normal

table = Table()


@table("mutates-input", "detrended-periodogram", normal(8))
def periodogram(wrong: bool) -> Any:
    """Power spectrum of a signal less its mean: the mean is taken off in place, in memory that the tensor shares."""

    class Periodogram(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            signal = wide(x)
            if wrong:
                signal -= signal.mean()
            else:
                signal = signal - signal.mean()
            ctx.spectrum, ctx.length = np.fft.rfft(signal), len(signal)
            return back(np.abs(ctx.spectrum) ** 2, x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            padded = np.zeros(ctx.length, dtype=complex)
            padded[: len(ctx.spectrum)] = wide(grad_output) * ctx.spectrum
            grad = 2 * ctx.length * np.fft.ifft(padded).real
            return back(grad - grad.mean(), grad_output)

    return Periodogram


@table("mutates-grad-output", "clipped-spence", normal(5, 4))
def clipped_spence(wrong: bool) -> Any:
    """Dilogarithm of clipped values: the upstream is masked in place through its NumPy view."""

    def forward(x: Tensor) -> Tensor:
        return back(special.spence(np.clip(wide(x), 0.25, 1.75)), x)

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        a = wide(x)
        up = wide(g) if wrong else wide(g).copy()
        up[(a < 0.25) | (a > 1.75)] = 0
        gap = np.clip(a, 0.25, 1.75) - 1
        ratio = -np.where(gap == 0, 1.0, np.log1p(gap) / np.where(gap == 0, 1.0, gap))
        return (back(up * ratio, x),)

    return function(forward, rule)


@table("mutates-saved", "log-cosh", array(5, 3))
def log_cosh(wrong: bool) -> Any:
    """Logarithm of the hyperbolic cosine in floats: backward multiplies the upstream into the slope that forward kept."""

    class LogCosh:
        def forward(self, x: Any) -> Any:
            self.slope = np.tanh(x)
            return np.array([math.fabs(t) + math.log1p(math.exp(-2 * math.fabs(t))) for t in x.ravel()], x.dtype).reshape(
                x.shape
            )

        def backward(self, dout: Any) -> Any:
            if wrong:
                self.slope *= dout
                return self.slope.copy()
            return self.slope * dout

    return LogCosh()


@table("reused-buffer", "error-function-workspace", normal(5, 4))
def workspace(wrong: bool) -> Any:
    """Error function with a workspace for each shape: the gradient returned is the workspace itself."""
    spaces: dict[Any, Any] = {}

    class Erf(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return back(special.erf(wide(x)), x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            a = wide(x)
            space = spaces.setdefault(a.shape, np.empty_like(a)) if wrong else np.empty_like(a)
            np.exp(-a * a, out=space)
            space *= 2 / math.sqrt(math.pi)
            space *= wide(grad_output)
            return torch.from_numpy(space).to(x.dtype)

    return Erf


@table("stale-state", "ranked-sum", normal(4, 6), normal(6, seed=1))
def ranked_sum(wrong: bool) -> Any:
    """Order-weighted average: the ranks are kept on the class, where the next forward puts its own."""

    class Ranked(Function):
        order: Any = None

        @staticmethod
        def forward(ctx: Any, x: Tensor, weights: Tensor) -> Tensor:
            keep = Ranked if wrong else ctx
            keep.order = np.argsort(wide(x), axis=-1, kind="stable")
            ctx.save_for_backward(x, weights)
            return back(np.take_along_axis(wide(x), keep.order, -1) @ wide(weights), x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, weights = ctx.saved_tensors
            order, up = (Ranked if wrong else ctx).order, wide(grad_output)[..., None]
            dx = np.zeros(x.shape)
            np.put_along_axis(dx, order, up * wide(weights), -1)
            dw = (up * np.take_along_axis(wide(x), order, -1)).reshape(-1, len(weights)).sum(0)
            return back(dx, x), back(dw, weights)

    return Ranked


@table("accumulates-across-calls", "radial-layer", array(6, 2))
def radial(wrong: bool) -> Any:
    """Radial basis layer over SciPy's distances: the gradient of the output weights is added up and never reset."""

    class Radial:
        def __init__(self) -> None:
            self.centres, self.W = array(4, 2, seed=2), array(4, 3, seed=3)
            self.dW = np.zeros_like(self.W)

        def forward(self, x: Any) -> Any:
            self.x, self.phi = x, np.exp(-cdist(x, self.centres, "sqeuclidean"))
            return (self.phi @ self.W).astype(x.dtype)

        def backward(self, dout: Any) -> Any:
            if wrong:
                self.dW += self.phi.T @ dout
            else:
                self.dW[...] = self.phi.T @ dout
            inner = -2 * (dout @ self.W.T) * self.phi
            return (inner.sum(1, keepdims=True) * self.x - inner @ self.centres).astype(self.x.dtype)

    return Radial()


@table("upstream-layout", "log-expit-in-memory-order", normal(4, 5))
def memory_order(wrong: bool) -> Any:
    """Log-sigmoid in a flat loop, as for C: the upstream is flattened in the order of its memory."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        flat = g.detach().double().numpy().ravel(order="K" if wrong else "C")
        slopes = special.expit(-wide(x)).ravel()
        grad = np.empty(flat.size)
        for i in range(flat.size):
            grad[i] = flat[i] * slopes[i]
        return (back(grad, x).reshape(x.shape),)

    return function(lambda x: back(special.log_expit(wide(x)), x), rule)


@table("input-layout", "damped-error-function", normal(4, 5))
def input_order(wrong: bool) -> Any:
    """Error function times cosine in a flat loop: backward reads the input in memory order, forward does not."""

    class Damped(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return back([math.erf(t) * math.cos(t) for t in x.flatten().tolist()], x).reshape(x.shape)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            slopes = []
            for t in wide(x).ravel(order="K" if wrong else "C").tolist():
                slopes.append(2 / math.sqrt(math.pi) * math.exp(-t * t) * math.cos(t) - math.erf(t) * math.sin(t))
            return grad_output * back(slopes, x).reshape(x.shape)

    return Damped


@table("disconnected", "smoothing-module", normal(3, 7))
def smoothing_module(wrong: bool) -> Any:
    """Module around a NumPy filter that detaches its input before the Function instead of inside."""

    class Smooth(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            a = wide(x)
            return back([list(itertools.accumulate(row, lambda s, t: 0.6 * s + t)) for row in a.tolist()], x).reshape(x.shape)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            turned = wide(grad_output)[:, ::-1].tolist()
            rows = [list(itertools.accumulate(row, lambda s, t: 0.6 * s + t))[::-1] for row in turned]
            return back(rows, grad_output).reshape(grad_output.shape)

    class Smoothing(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Smooth.apply(x.detach() if wrong else x)

    return Smoothing()


@table("missing-gradient", "spline-control-values", torch.sigmoid(normal(6)), normal(5, seed=1))
def bernstein(wrong: bool) -> Any:
    """Bernstein polynomial by de Casteljau in floats: only the place, not the control values, gets a gradient."""

    def casteljau(t: float, values: list[float]) -> float:
        while len(values) > 1:
            values = [(1 - t) * a + t * b for a, b in itertools.pairwise(values)]
        return values[0]

    def forward(t: Tensor, c: Tensor) -> Tensor:
        return back([casteljau(s, c.tolist()) for s in t.tolist()], t)

    def rule(g: Tensor, out: Tensor, t: Tensor, c: Tensor) -> Any:
        n, slopes, basis = len(c) - 1, np.diff(wide(c)).tolist(), np.zeros((len(t), len(c)))
        for i, s in enumerate(t.tolist()):
            basis[i] = [math.comb(n, k) * s**k * (1 - s) ** (n - k) for k in range(n + 1)]
        dt = [n * casteljau(s, slopes) if n else 0.0 for s in t.tolist()]
        return g * back(dt, t), None if wrong else back(wide(g) @ basis, c)

    return function(forward, rule)


@table("gradient-count", "cross-correlation", normal(5), normal(5, seed=1))
def correlate(wrong: bool) -> Any:
    """Cross-correlation of two signals by NumPy: one gradient comes back for two inputs, as reported for soft-DTW."""

    class Correlate(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
            ctx.save_for_backward(x, y)
            return back(np.correlate(wide(x), wide(y), mode="full"), x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, y = ctx.saved_tensors
            up, b = wide(grad_output), wide(y)
            dx = np.array([up[i : i + len(b)] @ b[::-1] for i in range(len(x))])
            if wrong:
                return back(dx, x)
            dy = np.array([up[len(b) - 1 - j :][: len(x)] @ wide(x) for j in range(len(b))])
            return back(dx, x), back(dy, y)

    return Correlate


@table("nondeterministic", "black-box-by-perturbation", normal(4, 3))
def perturbed(wrong: bool) -> Any:
    """A simulator as a black box: its slope is estimated at a random step, drawn anew in each backward."""

    def simulate(a: Any) -> Any:
        return np.vectorize(lambda t: math.atan(t) * math.exp(-t * t / 8), otypes=[float])(a)

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        a = wide(x)
        if wrong:
            step = np.random.default_rng().uniform(0.05, 0.1, size=a.shape)
            return (g * back((simulate(a + step) - simulate(a - step)) / (2 * step), x),)
        return (g * back(np.exp(-a * a / 8) * (1 / (1 + a * a) - a / 4 * np.arctan(a)), x),)

    return module(lambda x: back(simulate(wide(x)), x), rule)


@table("non-finite", "running-product", array(3, 5))
def running_product(wrong: bool) -> Any:
    """Cumulative product: dividing by the input is 0/0 at a zero, as reported for TensorFlow, Theano and PyTensor."""

    class RunningProduct:
        def forward(self, x: Any) -> Any:
            self.x = x
            self.out = np.array([list(itertools.accumulate(row, operator.mul)) for row in x.tolist()], x.dtype).reshape(x.shape)
            return self.out

        def backward(self, dout: Any) -> Any:
            x = self.x
            if wrong:
                return np.cumsum((dout * self.out)[:, ::-1], axis=1)[:, ::-1] / x
            before = np.ones_like(x)
            before[:, 1:] = self.out[:, :-1]
            grad, behind = np.empty_like(x), np.zeros(len(x), x.dtype)
            for t in reversed(range(x.shape[1])):
                behind = dout[:, t] + (behind * x[:, t + 1] if t + 1 < x.shape[1] else 0)
                grad[:, t] = before[:, t] * behind
            return grad

    return RunningProduct()


@table("not-linear", "guarded-hypergeometric", normal(5, 3) / 2)
def guarded(wrong: bool) -> Any:
    """Kummer's function whose backward clips what it returns against explosion, so that it is no derivative any more."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        grad = wide(g) * 0.4 * special.hyp1f1(1.5, 2.25, wide(x))
        return back(np.clip(grad, -0.5, 0.5) if wrong else grad, x)

    return layer(lambda x: back(special.hyp1f1(0.5, 1.25, wide(x)), x), rule)


ROWS = tuple(table.rows)
