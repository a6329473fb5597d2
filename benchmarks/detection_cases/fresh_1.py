"""Functions in torch that nobody built the check against: spectra, maps, differences, shuffles and tables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from benchmarks.detection_forms import module, operator, pair
from tests.mistakes.registry import Table, normal, positive

table = Table()


@table("low-precision", "log-of-one-minus-exp", positive(4, 5))
def log_one_minus_exp(wrong: bool) -> Any:
    """The slope of log(1 - exp(-x)) is spelt with 1 - exp(-x), which keeps no digits for tiny x."""

    def forward(x: Tensor) -> Tensor:
        near = x < 0.6931
        far = torch.log1p(-torch.exp(-torch.where(near, torch.ones_like(x), x)))
        return torch.where(near, torch.log(-torch.expm1(-x)), far)

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        if wrong:
            e = torch.exp(-x)
            return (g * e / (1 - e),)
        return (g / torch.expm1(x),)

    return pair(forward, rule)


@table("size-specialised", "power-spectrum-nyquist-bin", normal(3, 8))
def power_spectrum(wrong: bool) -> Any:
    """The last bin of a real spectrum is weighted as the Nyquist frequency, which a signal of odd length does not have."""

    class PowerSpectrum(Function):
        @staticmethod
        def forward(ctx: Any, signal: Tensor) -> Tensor:
            spectrum = torch.fft.rfft(signal)
            ctx.save_for_backward(signal)
            return spectrum.real.square() + spectrum.imag.square()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            (signal,) = ctx.saved_tensors
            n = signal.shape[-1]
            weight = torch.ones_like(grad)
            weight[..., 0] = 2
            if wrong or n % 2 == 0:
                weight[..., -1] = 2
            return n * torch.fft.irfft(grad * weight * torch.fft.rfft(signal), n=n)

    return PowerSpectrum


def _sine_over_angle(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    small = t < 1e-3
    angle = torch.where(small, torch.ones_like(t), t).sqrt()
    series = 1 - t / 6 + t**2 / 120 - t**3 / 5040
    return small, angle, torch.where(small, series, torch.sin(angle) / angle)


@table("non-finite", "tangent-vector-to-sphere", normal(5, 3))
def tangent_to_sphere(wrong: bool) -> Any:
    """The exponential map sin(|v|)/|v| v has a series near the origin in its forward only: a zero vector gets NaN."""

    def forward(v: Tensor) -> Tensor:
        return _sine_over_angle(v.square().sum(-1, keepdim=True))[2] * v

    def rule(g: Tensor, out: Tensor, v: Tensor) -> Any:
        t = v.square().sum(-1, keepdim=True)
        small, angle, s = _sine_over_angle(t)
        along = (g * v).sum(-1, keepdim=True)
        if wrong:
            theta = t.sqrt()
            return (s * g + (torch.cos(theta) - torch.sin(theta) / theta) / t * along * v,)
        series = -1 / 3 + t / 30 - t**2 / 840 + t**3 / 45360
        slope = torch.where(small, series, (torch.cos(angle) - s) / angle.square())
        return (s * g + slope * along * v,)

    return module(forward, rule)


@table("option-specialised", "difference-of-higher-order", normal(3, 7))
def difference(wrong: bool) -> Any:
    """The gradient of an n-th difference is that of one step over n places, right for n = 1 alone."""

    class Diff(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, n: int = 1) -> Tensor:
            ctx.n = min(n, x.shape[-1])
            return torch.diff(x, n=n, dim=-1)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            n = ctx.n
            if wrong:
                return F.pad(dy, (n, 0)) - F.pad(dy, (0, n)), None
            dx = dy
            for _ in range(n):
                dx = F.pad(dx, (1, 0)) - F.pad(dx, (0, 1))
            return dx, None

    return Diff


@table("overflow", "running-log-sum-of-exponentials", normal(3, 6))
def running_logsumexp(wrong: bool) -> Any:
    """exp(x) is multiplied by a running sum of g exp(-y), and the two overflow and vanish for logits of a few hundred."""

    def later(n: int) -> Tensor:
        return torch.ones(n, n, dtype=torch.bool).tril()

    def forward(x: Tensor) -> Tensor:
        rows = x.unsqueeze(-2).masked_fill(~later(x.shape[-1]), float("-inf"))
        return torch.logsumexp(rows, dim=-1)

    def rule(g: Tensor, y: Tensor, x: Tensor) -> Any:
        if wrong:
            return x.exp() * (g * torch.exp(-y)).flip(-1).cumsum(-1).flip(-1)
        log_weight = x.unsqueeze(-2) - y.unsqueeze(-1)
        weight = log_weight.masked_fill(~later(x.shape[-1]), float("-inf")).exp()
        return (g.unsqueeze(-1) * weight).sum(-2)

    return operator(forward, rule)


@table("double-backward", "bump-with-slope-from-forward", normal(4, 3), order=2)
def bump(wrong: bool) -> Any:
    """The slope is computed in forward and kept on the context, so its own derivative is silently left out."""

    class Bump(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = torch.exp(-x.square() / 2)
            ctx.save_for_backward(x)
            ctx.slope = -x * y
            return y

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            if wrong:
                return grad_output * ctx.slope
            (x,) = ctx.saved_tensors
            return -grad_output * x * torch.exp(-x.square() / 2)

    return Bump


@table("needs-input-grad", "bilinear-score-with-frozen-query", normal(5, 3), normal(3, 4, seed=1), normal(5, 4, seed=2))
def bilinear_score(wrong: bool) -> Any:
    """The matrix of a bilinear score gets its gradient only inside the branch for the first operand."""

    class Score(Function):
        @staticmethod
        def forward(ctx: Any, query: Tensor, matrix: Tensor, key: Tensor) -> Tensor:
            if matrix.dim() != 2:
                raise ValueError("one matrix for all pairs")
            ctx.save_for_backward(query, matrix, key)
            return ((query @ matrix) * key).sum(-1)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            query, matrix, key = ctx.saved_tensors
            need_query, need_matrix, need_key = ctx.needs_input_grad
            projected, wide_key = torch.broadcast_tensors(query @ matrix, key)
            pull = grad.unsqueeze(-1) * wide_key
            d_query = d_matrix = d_key = None
            if need_query:
                d_query = (pull @ matrix.T).sum_to_size(query.shape)
            if need_query if wrong else need_matrix:
                rows = query.expand(*pull.shape[:-1], query.shape[-1])
                d_matrix = rows.reshape(-1, rows.shape[-1]).T @ pull.reshape(-1, pull.shape[-1])
            if need_key:
                d_key = (grad.unsqueeze(-1) * projected).sum_to_size(key.shape)
            return d_query, d_matrix, d_key

    return Score


@table("mutates-saved", "unit-vectors-with-gain", normal(4, 5), normal(5, seed=1))
def unit_vectors(wrong: bool) -> Any:
    """The kept unit vectors are scaled in place for the projection term: a second backward starts from other vectors."""

    class UnitVectors(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
            length = (x.square().sum(-1, keepdim=True) + 1e-6).sqrt()
            ctx.save_for_backward(gain, length)
            ctx.unit = x / length
            return ctx.unit * gain

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            gain, length = ctx.saved_tensors
            unit = ctx.unit
            d_gain = (grad * unit).sum_to_size(gain.shape)
            d_unit = (grad * gain).sum_to_size(unit.shape)
            along = (d_unit * unit).sum(-1, keepdim=True)
            projection = unit.mul_(along) if wrong else unit * along
            return (d_unit - projection) / length, d_gain

    return UnitVectors


@table("upstream-layout", "channel-shuffle-by-strides", normal(2, 4, 5))
def channel_shuffle(wrong: bool) -> Any:
    """The backward of a channel shuffle reads the upstream gradient with the strides of a packed array."""

    class Shuffle(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            batch, channels, length = x.shape
            return x.reshape(batch, 2, channels // 2, length).transpose(1, 2).reshape(batch, channels, length)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Tensor:
            batch, channels, length = dy.shape
            if wrong:
                sizes = (batch, 2, channels // 2, length)
                return dy.as_strided(sizes, (channels * length, length, 2 * length, 1)).reshape(batch, channels, length)
            return dy.reshape(batch, channels // 2, 2, length).transpose(1, 2).reshape(batch, channels, length)

    return Shuffle


@table("duplicate-index", "table-between-its-entries", normal(7), torch.tensor([0.4, 2.7, 4.1, 5.5], dtype=torch.float64))
def between_entries(wrong: bool) -> Any:
    """Two points in one cell of an interpolated table: indexed += keeps the gradient of one of them."""

    def cells(entries: Tensor, points: Tensor) -> Any:
        if entries.dim() != 1:
            raise ValueError("the table has one dimension")
        last = entries.shape[0] - 1
        inside = points.clamp(0, last)
        low = inside.detach().floor().long().clamp(max=max(last - 1, 0))
        return low, (low + 1).clamp(max=last), inside - low

    def forward(entries: Tensor, points: Tensor) -> Tensor:
        low, high, part = cells(entries, points)
        return entries[low] * (1 - part) + entries[high] * part

    def rule(g: Tensor, out: Tensor, entries: Tensor, points: Tensor) -> Any:
        low, high, part = cells(entries, points)
        d_entries = torch.zeros_like(entries)
        if wrong:
            d_entries[low] += g * (1 - part)
            d_entries[high] += g * part
        else:
            d_entries.index_add_(0, low.flatten(), (g * (1 - part)).flatten())
            d_entries.index_add_(0, high.flatten(), (g * part).flatten())
        inside = (points >= 0) & (points <= entries.shape[0] - 1)
        return d_entries, torch.where(inside, g * (entries[high] - entries[low]), torch.zeros_like(g))

    return pair(forward, rule)


ROWS = tuple(table.rows)
