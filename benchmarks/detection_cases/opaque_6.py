"""Opaque forwards: scalars in graphs and loops, precision that only the backward loses, and more torch references."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from benchmarks.detection_cases.opaque_1 import back, wide
from benchmarks.detection_forms import function, layer, pair
from tests.mistakes.registry import Table, array, normal

table = Table()


@table("value-dependent", "display-to-linear-light", torch.sigmoid(normal(5, 4)))
def linear_light(wrong: bool) -> Any:
    """Transfer curve of displays: backward switches branches at the threshold of the inverse curve."""

    def decode(c: float) -> float:
        return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4

    def slope(c: float) -> float:
        return 1 / 12.92 if c <= (0.0031308 if wrong else 0.04045) else 2.4 / 1.055 * ((c + 0.055) / 1.055) ** 1.4

    def rule(g: Tensor, out: Tensor, c: Tensor) -> Any:
        return (g * back([slope(t) for t in c.flatten().tolist()], c).reshape(c.shape),)

    return layer(lambda c: back([decode(t) for t in c.flatten().tolist()], c).reshape(c.shape), rule)


@table("low-precision", "pseudo-huber-packed", normal(6, 4, dtype=torch.float32))
def packed(wrong: bool) -> Any:
    """Pseudo-Huber loss by SciPy: slopes are packed as C floats, although the input may be double."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        a = wide(x)
        slopes = (a / np.sqrt(1 + a * a)).ravel()
        code = f"{a.size}{'f' if wrong else 'd'}"
        return (g * back(struct.unpack(code, struct.pack(code, *slopes)), x).reshape(x.shape),)

    return function(lambda x: back(special.pseudo_huber(1.0, wide(x)), x), rule)


@table("wrong-dtype|low-precision", "error-function-as-float", normal(6, 4, dtype=torch.float32))
def as_float(wrong: bool) -> Any:
    """Error function whose gradient is always made as float32, also for double inputs."""

    class Erf(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return back(special.erf(wide(x)), x)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            grad = wide(grad_output) * 2 / math.sqrt(math.pi) * np.exp(-(wide(x) ** 2))
            return torch.tensor(grad, dtype=torch.float32 if wrong else x.dtype)

    return Erf


@table("epsilon-mismatch", "row-normalisation-without-eps", normal(4, 6), reference=lambda x: F.layer_norm(x, x.shape[-1:]))
def without_eps(wrong: bool) -> Any:
    """Layer norm in NumPy whose backward normalises again and leaves the epsilon out."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        up, h = wide(g), wide(out)
        s = np.sqrt(wide(x).var(-1, keepdims=True) + (0 if wrong else 1e-5))
        return (back((up - up.mean(-1, keepdims=True) - h * (up * h).mean(-1, keepdims=True)) / s, x),)

    def forward(x: Tensor) -> Tensor:
        a = wide(x)
        return back((a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5), x)

    return pair(forward, rule)


def row_norms(x: Tensor, p: float = 2.0) -> Tensor:
    """Norm of each row."""
    return torch.linalg.vector_norm(x, p, dim=-1)


@table("option-specialised", "norm-of-any-order", normal(5, 4), reference=row_norms)
def any_norm(wrong: bool) -> Any:
    """Norm of each row in NumPy whose backward is that of the default order."""

    class Norm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, p: float = 2.0) -> Tensor:
            if not 1 <= p < math.inf:
                raise ValueError("p from 1 on")
            out = back(np.linalg.norm(wide(x), ord=p, axis=-1), x)
            ctx.save_for_backward(x, out)
            ctx.p = p
            return out

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Any:
            x, out = ctx.saved_tensors
            shares = wide(x) / np.where(wide(out) > 0, wide(out), 1.0)[..., None]
            slopes = shares if wrong else np.sign(shares) * np.abs(shares) ** (ctx.p - 1)
            return grad_output.unsqueeze(-1) * back(slopes, x), None

    return Norm


@table("value-dependent", "rectified-sine", normal(5, 4) / 2, reference=lambda x: torch.sin(x).abs())
def rectified_sine(wrong: bool) -> Any:
    """Rectified sine in floats: the slope's sign is taken from the phase, not from the sine, which turns beyond pi."""

    def rule(g: Tensor, out: Tensor, x: Tensor) -> Any:
        a = wide(x)
        return (g * back(np.sign(a if wrong else np.sin(a)) * np.cos(a), x),)

    return layer(lambda x: back([abs(math.sin(t)) for t in x.flatten().tolist()], x).reshape(x.shape), rule)


def cross_spectrum(x: Tensor, y: Tensor) -> Tensor:
    """Circular convolution."""
    return torch.fft.ifft(torch.fft.fft(x) * torch.fft.fft(y)).real


@table("wrong-operand", "circular-convolution", normal(6), normal(6, seed=1), reference=cross_spectrum)
def circular(wrong: bool) -> Any:
    """Circular convolution by NumPy's transforms: the second factor's spectrum is not conjugated on the way back."""

    def forward(x: Tensor, y: Tensor) -> Tensor:
        return back(np.fft.ifft(np.fft.fft(wide(x)) * np.fft.fft(wide(y))).real, x)

    def rule(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> Any:
        up, fx, fy = np.fft.fft(wide(g)), np.fft.fft(wide(x)), np.fft.fft(wide(y))
        dx = np.fft.ifft(up * (fy if wrong else fy.conj())).real
        return back(dx, x), back(np.fft.ifft(up * fx.conj()).real, y)

    return function(forward, rule)


class Value:
    """A scalar of a graph."""

    def __init__(self, data: float, children: tuple[Any, ...] = ()) -> None:
        self.data, self.grad, self._prev, self._backward = data, 0.0, set(children), lambda: None

    def __add__(self, other: Any) -> Any:
        out = Value(self.data + other.data, (self, other))

        def _backward() -> None:
            self.grad += out.grad
            other.grad += out.grad

        out._backward = _backward
        return out

    def backward(self) -> None:
        order: list[Any] = []

        def build(v: Any) -> None:
            if v not in order:
                for child in v._prev:
                    build(child)
                order.append(v)

        build(self)
        self.grad = 1.0
        for v in reversed(order):
            v._backward()


@table("fan-out-overwritten", "scalars-through-erf", Value(0.4), Value(-0.7))
def scalars(wrong: bool) -> Any:
    """A graph of scalars with an error-function node that assigns its gradient instead of adding it."""

    def erf(v: Value) -> Value:
        out = Value(math.erf(v.data), (v,))

        def _backward() -> None:
            slope = 2 / math.sqrt(math.pi) * math.exp(-v.data * v.data)
            v.grad = slope * out.grad if wrong else v.grad + slope * out.grad

        out._backward = _backward
        return out

    def program(a: Value, b: Value) -> Value:
        return erf(a) + erf(erf(a) + b) + a

    return program


@table("constant-factor", "pairwise-ranking-loss", array(7), np.array([0, 1, 1, 0, 0, 1, 0]))
def ranking(wrong: bool) -> Any:
    """Ranking loss over all pairs in a Python loop: the gradient is divided by the samples, the loss by the pairs."""

    def ranking_loss(scores: Any, y: Any) -> Any:
        loss, pairs, grad = 0.0, 0, np.zeros_like(scores)
        for i in range(len(scores)):
            for j in range(len(scores)):
                if y[i] == 1 and y[j] == 0:
                    gap = float(scores[j] - scores[i])
                    loss += max(gap, 0.0) + math.log1p(math.exp(-abs(gap)))
                    share = special.expit(gap)
                    grad[j] += share
                    grad[i] -= share
                    pairs += 1
        pairs = max(pairs, 1)
        return loss / pairs, grad / (len(scores) if wrong else pairs)

    return ranking_loss


@table("value-dependent|tie-mass", "proportional-hazards", array(7), np.array([3, 1, 7, 4, 6, 2, 5]))
def hazards(wrong: bool) -> Any:
    """Partial likelihood: the risk sets of the gradient are cut by rank, those of the loss by time, which ties tell apart."""

    def hazard_loss(risk: Any, times: Any) -> Any:
        order = np.argsort(times, kind="stable")
        loss, grad = 0.0, np.zeros_like(risk)
        for rank, i in enumerate(order):
            at_risk = np.flatnonzero(times >= times[i])
            loss += float(special.logsumexp(risk[at_risk]) - risk[i])
            members = order[rank:] if wrong else at_risk
            grad[members] += special.softmax(risk[members])
            grad[i] -= 1
        return loss, grad

    return hazard_loss


ROWS = tuple(table.rows)
