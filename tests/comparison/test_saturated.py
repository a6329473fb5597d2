"""Layers whose inside saturates: 1 - s of what is 1 to all digits is rounding, and a mistake as large as that is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl

Array = Any
ELEMENTWISE: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda s: s * (1 - s)),
    "tanh": (np.tanh, lambda s: 1 - s * s),
    "tanh by powers": (np.tanh, lambda s: 1 - s**2),
}


class InTorch(torch.autograd.Function):
    """A sigmoid of a product, which saves the sigmoid."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        s = 1 / (1 + torch.exp(-(x @ w)))
        ctx.save_for_backward(s, x, w)
        return s * s + 1

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        s, x, w = ctx.saved_tensors
        d = g * 2 * s * s * (1 - s)
        return d @ w.T, x.T @ d


class CutOff(InTorch):
    """The same, and no gradient where the score is beyond 10: 1e-5 of it is small, and no rounding."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        s, x, w = ctx.saved_tensors
        d = torch.where((x @ w).abs() > 10, 0, g * 2 * s * s * (1 - s))
        return d @ w.T, x.T @ d


def pair(form: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A layer in NumPy, `out, cache` and `backward(dout, cache)`, of one elementwise function of a product."""
    function, slope = ELEMENTWISE[form]

    def forward(x: Array, w: Array, b: Array) -> Any:
        s = function(x @ w + b)
        return s, (x, w, s)

    def backward(dout: Array, cache: Any) -> Any:
        x, w, s = cache
        d = dout * slope(s)
        return d @ w.T, x.T @ d, d.sum(axis=0)

    return forward, backward


class Layer:
    """The same as an object with state."""

    def __init__(self, form: str) -> None:
        self.function, self.slope = ELEMENTWISE[form]
        self.W = np.random.default_rng(0).normal(size=(4, 3))
        self.dW = np.zeros((4, 3))

    def forward(self, x: Array) -> Array:
        """x: (n, 4)."""
        self.x = x
        self.s = self.function(x @ self.W)
        return self.s

    def backward(self, dout: Array) -> Array:
        """dout: (n, 3)."""
        d = dout * self.slope(self.s)
        self.dW = self.x.T @ d
        return d @ self.W.T


@pytest.mark.parametrize("form", ELEMENTWISE)
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_saturated_layers_in_numpy_pass(form: str, scale: float) -> None:
    draw = np.random.default_rng(1)
    x, w, b = scale * draw.normal(size=(5, 4)), draw.normal(size=(4, 3)), draw.normal(size=3)
    report = gl.check(pair(form), x, w, b, probes=("values",))
    assert report.verdict == "pass", str(report)
    report = gl.check(Layer(form), x, probes=("values",))
    assert report.verdict == "pass", str(report)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_a_saturated_function_in_torch_passes(dtype: torch.dtype, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = scale * torch.randn(3, 4, generator=generator, dtype=dtype)
    w = torch.randn(4, 2, generator=generator, dtype=dtype)
    assert gl.check(InTorch, x, w).verdict == "pass"


@pytest.mark.parametrize("scores", [11.0, 15.0, 20.0])
def test_a_gradient_that_is_cut_off_where_it_is_small_is_wrong(scores: float) -> None:
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    x = torch.full((3, 2), scores, dtype=torch.float64) @ torch.linalg.pinv(w)
    report = gl.check(CutOff, x, w, probes=())
    assert report.verdict == "fail", str(report)
    assert report.findings[0].cause == "zero-gradient"
    assert gl.check(InTorch, x, w, probes=()).verdict == "pass"
