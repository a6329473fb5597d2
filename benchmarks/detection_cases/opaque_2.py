"""Forwards that leave torch: dynamic programming in Python, signals, tables and transforms."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from scipy import fft, ndimage, signal
from scipy.special import logsumexp
from torch import Tensor
from torch.autograd import Function

from benchmarks.detection_cases.opaque_1 import back, wide
from benchmarks.detection_forms import function, layer, pair
from tests.mistakes.registry import Table, array, normal

table = Table()


def soft_minimum_table(costs: Any, gamma: float) -> Any:
    """Accumulated costs of soft-DTW, with a border of inf."""
    n, m = costs.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            before = np.array([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]])
            total[i, j] = costs[i - 1, j - 1] - gamma * logsumexp(-before / gamma)
    return total


def soft_alignment(total: Any, gamma: float, g: float) -> Any:
    """Expected alignment times g, from the last cell backwards."""
    n, m = total.shape[0] - 1, total.shape[1] - 1
    visits = np.zeros_like(total)
    visits[n, m] = g
    for i in range(n, 0, -1):
        for j in range(m, 0, -1):
            before = np.array([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]])
            shares = np.exp(-before / gamma - logsumexp(-before / gamma))
            visits[i - 1, j - 1] += shares[0] * visits[i, j]
            visits[i - 1, j] += shares[1] * visits[i, j]
            visits[i, j - 1] += shares[2] * visits[i, j]
    return visits[1:, 1:]


@table("option-specialised", "soft-dtw-temperature", normal(5, 4).square())
def soft_dtw(wrong: bool) -> Any:
    """Soft-DTW whose backward weighs the three ways without the smoothing, which is 1 by default."""

    class SoftDTW(Function):
        @staticmethod
        def forward(ctx: Any, costs: Tensor, gamma: float = 1.0) -> Tensor:
            if gamma <= 0:
                raise ValueError("gamma has to be positive")
            ctx.total, ctx.gamma = soft_minimum_table(wide(costs), gamma), gamma
            ctx.save_for_backward(costs)
            return back(ctx.total[-1, -1], costs)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (costs,) = ctx.saved_tensors
            return back(soft_alignment(ctx.total, 1.0 if wrong else ctx.gamma, float(grad_output)), costs), None

    return SoftDTW


@table("upstream-scalarized", "soft-dtw-of-a-batch", normal(3, 4, 4).square())
def soft_dtw_batch(wrong: bool) -> Any:
    """Soft-DTW of several pairs: the upstream of the first is used for all."""

    class Batch(Function):
        @staticmethod
        def forward(ctx: Any, costs: Tensor) -> Tensor:
            ctx.save_for_backward(costs)
            ctx.tables = [soft_minimum_table(c, 0.5) for c in wide(costs)]
            return back([t[-1, -1] for t in ctx.tables], costs)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (costs,) = ctx.saved_tensors
            weights = grad_output.tolist()
            grad = torch.zeros_like(costs)
            for i, total in enumerate(ctx.tables):
                grad[i] = back(soft_alignment(total, 0.5, weights[0 if wrong else i]), costs)
            return grad

    return Batch


def label_posteriors(logp: Any, labels: list[int]) -> tuple[float, Any, list[int]]:
    """Log-likelihood of the labels under CTC (blank 0), posterior of each state, and the states' symbols."""
    steps, states = len(logp), [0]
    for label in labels:
        states += [label, 0]
    size = len(states)
    emitted = logp[:, states]
    skips = np.array([s >= 2 and states[s] != 0 and states[s] != states[s - 2] for s in range(size)])

    def sweep(emitted: Any, skips: Any) -> Any:
        alpha = np.full((steps, size), -np.inf)
        alpha[0, :2] = emitted[0, :2]
        for t in range(1, steps):
            for s in range(size):
                ways = [alpha[t - 1, s]]
                if s >= 1:
                    ways.append(alpha[t - 1, s - 1])
                if s >= 2 and skips[s]:
                    ways.append(alpha[t - 1, s - 2])
                alpha[t, s] = logsumexp(ways) + emitted[t, s]
        return alpha

    alpha = sweep(emitted, skips)
    reverse_skips = np.concatenate([[False, False], skips[2:][::-1]])
    beta = sweep(emitted[::-1, ::-1], reverse_skips)[::-1, ::-1]
    total = float(logsumexp(alpha[-1, -2:]))
    return total, np.exp(alpha + beta - emitted - total), states


@table("upstream-ignored", "ctc-of-one-sequence", torch.log_softmax(normal(6, 4), -1), torch.tensor([1, 3]))
def ctc(wrong: bool) -> Any:
    """CTC by hand, whose gradient is right only as the last node, as reported for a Theano wrapper."""

    class CTC(Function):
        @staticmethod
        def forward(ctx: Any, logp: Tensor, labels: Tensor) -> Tensor:
            total, posterior, states = label_posteriors(wide(logp), labels.tolist())
            grad = np.zeros(logp.shape)
            for s, symbol in enumerate(states):
                grad[:, symbol] -= posterior[:, s]
            ctx.save_for_backward(back(grad, logp))
            return back(-total, logp)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            (grad,) = ctx.saved_tensors
            return (grad.clone() if wrong else grad_output * grad), None

    return CTC


@table("duplicate-index", "ctc-with-a-label-twice", torch.log_softmax(normal(7, 4), -1), torch.tensor([2, 1, 3]))
def ctc_repeated(wrong: bool) -> Any:
    """CTC: the posterior of a symbol is assigned for each of its places, so that a repeated label loses one."""

    def rule(g: Tensor, out: Tensor, logp: Tensor, labels: Tensor) -> Any:
        _, posterior, states = label_posteriors(wide(logp), labels.tolist())
        seen = np.zeros(logp.shape)
        seen[:, 0] = posterior[:, ::2].sum(1)
        for s in range(1, len(states), 2):
            if wrong:
                seen[:, states[s]] = posterior[:, s]
            else:
                seen[:, states[s]] += posterior[:, s]
        return -g * back(seen, logp), None

    return function(lambda logp, labels: back(-label_posteriors(wide(logp), labels.tolist())[0], logp), rule)


@table("transposed", "crf-transitions", array(6, 3), array(3, 3, seed=1))
def crf(wrong: bool) -> Any:
    """Log-partition of a linear chain: the expected transitions are counted from column to row."""

    def crf_forward(emissions: Any, transitions: Any) -> Any:
        alpha = np.zeros_like(emissions)
        alpha[0] = emissions[0]
        for t in range(1, len(emissions)):
            alpha[t] = logsumexp(alpha[t - 1][:, None] + transitions, axis=0) + emissions[t]
        return logsumexp(alpha[-1]), (alpha, emissions, transitions)

    def crf_backward(dout: Any, cache: Any) -> Any:
        alpha, emissions, transitions = cache
        demissions, dtransitions = np.zeros_like(emissions), np.zeros_like(transitions)
        here = np.exp(alpha[-1] - logsumexp(alpha[-1]))
        for t in range(len(emissions) - 1, 0, -1):
            demissions[t] = here
            scores = alpha[t - 1][:, None] + transitions
            moves = np.exp(scores - logsumexp(scores, axis=0)) * here
            dtransitions += moves.T if wrong else moves
            here = moves.sum(axis=1)
        demissions[0] = here
        return dout * demissions, dout * dtransitions

    return crf_forward, crf_backward


@table("tie-mass", "cheapest-path", normal(5, 4).square())
def cheapest_path(wrong: bool) -> Any:
    """Cheapest way through a grid: where two predecessors cost the same, both get the whole gradient."""

    class CheapestPath(Function):
        @staticmethod
        def forward(ctx: Any, costs: Tensor) -> Tensor:
            rows, (n, m) = costs.tolist(), costs.shape
            best = [[math.inf] * (m + 1) for _ in range(n + 1)]
            for i in range(n):
                for j in range(m):
                    start = 0.0 if i == j == 0 else min(best[i][j + 1], best[i + 1][j])
                    best[i + 1][j + 1] = start + rows[i][j]
            ctx.best, ctx.save = best, costs
            return back(best[n][m], costs)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            best, (n, m) = ctx.best, ctx.save.shape
            grad = np.zeros((n + 1, m + 1))
            grad[n, m] = float(grad_output)
            for i in range(n, 0, -1):
                for j in range(m, 0, -1):
                    if i == j == 1:
                        continue
                    up, left = best[i - 1][j], best[i][j - 1]
                    if up <= left:
                        grad[i - 1, j] += grad[i, j]
                    if left <= up if wrong else left < up:
                        grad[i, j - 1] += grad[i, j]
            return back(grad[1:, 1:], ctx.save)

    return CheapestPath


@table("permuted|wrong-operand", "wasserstein-of-samples", normal(7), normal(7, seed=1))
def wasserstein(wrong: bool) -> Any:
    """Squared transport between two samples: differences of sorted values are gathered, not scattered, by the order."""

    def rule(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> Any:
        a, b = wide(x), wide(y)
        i, j = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
        gap = 2 * float(g) * (a[i] - b[j]) / len(a)
        dx, dy = np.empty_like(gap), np.empty_like(gap)
        if wrong:
            dx, dy = gap[i], -gap[j]
        else:
            dx[i], dy[j] = gap, -gap
        return back(dx, x), back(dy, y)

    return pair(lambda x, y: back(np.mean((np.sort(wide(x)) - np.sort(wide(y))) ** 2), x), rule)


@table("value-dependent", "linear-table", torch.tanh(normal(4, 3)), normal(6, seed=1))
def linear_table(wrong: bool) -> Any:
    """Interpolation in a table from -2 to 2: beyond its ends the forward is flat, the backward goes on."""

    def rule(g: Tensor, out: Tensor, x: Tensor, values: Tensor) -> Any:
        a, f, up = wide(x).ravel(), wide(values), wide(g).ravel()
        knots = np.linspace(-2, 2, len(f))
        if len(f) == 1:
            return torch.zeros_like(x), back([up.sum()], values)
        cell = np.clip(np.searchsorted(knots, a, side="right") - 1, 0, len(f) - 2)
        step = knots[1] - knots[0]
        share = np.clip((a - knots[cell]) / step, 0, 1)
        inside = 1.0 if wrong else (a >= -2) & (a <= 2)
        df = np.zeros_like(f)
        np.add.at(df, cell, up * (1 - share))
        np.add.at(df, cell + 1, up * share)
        return back(up * inside * (f[cell + 1] - f[cell]) / step, x).reshape(x.shape), back(df, values)

    def forward(x: Tensor, values: Tensor) -> Tensor:
        return back(np.interp(wide(x), np.linspace(-2, 2, len(values)), wide(values)), x)

    return function(forward, rule)


@table("option-specialised", "gaussian-blur-border", normal(2, 9))
def blur(wrong: bool) -> Any:
    """Gaussian blur: blurring the upstream is its adjoint only for the border of the default."""

    class Blur(Function):
        @staticmethod
        def forward(
            ctx: Any, x: Tensor, mode: Literal["reflect", "nearest", "mirror", "wrap", "constant"] = "reflect"
        ) -> Tensor:
            ctx.mode = mode
            return back(ndimage.gaussian_filter1d(wide(x), 1.2, axis=-1, mode=mode), x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            g = wide(grad_output)
            if wrong:
                grad = ndimage.gaussian_filter1d(g, 1.2, axis=-1, mode=ctx.mode)
            else:
                grad = g @ ndimage.gaussian_filter1d(np.eye(g.shape[-1]), 1.2, axis=0, mode=ctx.mode)
            return back(grad, grad_output), None

    return Blur


@table("size-specialised", "convolution-of-same-length", normal(9), normal(3, seed=1))
def same_convolution(wrong: bool) -> Any:
    """Convolution cropped to the signal's length: correlating back is off by one for kernels of even length."""

    def rule(g: Tensor, out: Tensor, x: Tensor, k: Tensor) -> Any:
        a, b, up = wide(x), wide(k), wide(g)
        first = (len(b) - 1) // 2
        full = np.zeros(len(a) + len(b) - 1)
        full[first : first + len(a)] = up
        dx = signal.correlate(up, b, mode="same") if wrong else signal.correlate(full, b, mode="valid")
        return back(dx, x), back(np.correlate(full, a, mode="valid"), k)

    return layer(lambda x, k: back(signal.convolve(wide(x), wide(k), mode="same"), x), rule)


@table("option-specialised|constant-factor", "cosine-transform-norm", normal(3, 8))
def cosine_transform(wrong: bool) -> Any:
    """Cosine transform: the inverse is taken for the adjoint, which holds for the orthonormal default alone."""

    class Cosine(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, norm: Literal["ortho", "backward", "forward"] = "ortho") -> Tensor:
            ctx.norm = norm
            return back(fft.dct(wide(x), type=2, norm=norm), x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            g = wide(grad_output)
            if wrong:
                return back(fft.idct(g, type=2, norm=ctx.norm), grad_output), None
            return back(g @ fft.dct(np.eye(g.shape[-1]), type=2, axis=0, norm=ctx.norm), grad_output), None

    return Cosine


ROWS = tuple(table.rows)
