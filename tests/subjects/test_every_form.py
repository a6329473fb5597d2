"""One computation through every form that users have: the same verdict and the same numbers to rounding."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.report import Report

Rule = Callable[[Any, Any, Any], tuple[Any, Any]]


def forward(x: Any, w: Any) -> Any:
    return x * x * w


def right(grad_output: Any, x: Any, w: Any) -> tuple[Any, Any]:
    return 2 * x * w * grad_output, (x * x * grad_output).sum(0)


def wrong(grad_output: Any, x: Any, w: Any) -> tuple[Any, Any]:
    return x * w * grad_output, (x * x * grad_output).sum(0)


def as_pair(rule: Rule, x: torch.Tensor, w: torch.Tensor) -> Report:
    return gl.check((forward, lambda grad_output, output, x, w: rule(grad_output, x, w)), x, w)


def as_program(rule: Rule, x: torch.Tensor, w: torch.Tensor) -> Report:
    op = gl.Op(forward, lambda grad_output, output, x, w: rule(grad_output, x, w), name="op")

    def program(x: Any, w: Any) -> Any:
        return op(x, w)

    return gl.check(program, x, w)


def function_of(rule: Rule) -> type[torch.autograd.Function]:
    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x, w)
            return forward(x, w)

        @staticmethod
        def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return rule(grad_output, *ctx.saved_tensors)

    return Function


def as_function(rule: Rule, x: torch.Tensor, w: torch.Tensor) -> Report:
    return gl.check(function_of(rule), x, w)


def as_differentiable(rule: Rule, x: torch.Tensor, w: torch.Tensor) -> Report:
    def plain(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return function_of(rule).apply(x, w)

    return gl.check(plain, x, w)


def as_module(rule: Rule, x: torch.Tensor, w: torch.Tensor) -> Report:
    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(w.clone())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function_of(rule).apply(x, self.w)

    return gl.check(Module(), x)


def as_layer(rule: Rule, x: torch.Tensor, w: torch.Tensor) -> Report:
    class Layer:
        def __init__(self) -> None:
            self.W: Any = w.clone()
            self.dW: Any = None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.x = x
            return forward(x, self.W)

        def backward(self, dout: torch.Tensor) -> torch.Tensor:
            dx, self.dW = rule(dout, self.x, self.W)
            return dx

    return gl.check(Layer(), x)


def as_numpy_layer(rule: Rule, x: torch.Tensor, w: torch.Tensor) -> Report:
    class Layer:
        def __init__(self) -> None:
            self.W: Any = w.numpy().copy()
            self.dW: Any = None

        def forward(self, x: np.ndarray) -> np.ndarray:
            self.x = x
            return forward(x, self.W)

        def backward(self, dout: np.ndarray) -> np.ndarray:
            dx, self.dW = rule(dout, self.x, self.W)
            return dx

    return gl.check(Layer(), x.numpy())


FORMS = (as_pair, as_program, as_function, as_differentiable, as_module, as_layer, as_numpy_layer)

every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__[3:])


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return pair_of_shapes()


def pair_of_shapes() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return (
        torch.randn(5, 3, generator=generator, dtype=torch.float64),
        torch.randn(3, generator=generator, dtype=torch.float64),
    )


@cache
def wrong_pair() -> Report:
    return as_pair(wrong, *pair_of_shapes())


@every_form
def test_sound_rule_passes_in_every_form(form: Callable[..., Report], inputs: tuple[torch.Tensor, ...]) -> None:
    assert form(right, *inputs).verdict == "pass"


@every_form
def test_wrong_rule_fails_alike_in_every_form(form: Callable[..., Report], inputs: tuple[torch.Tensor, ...]) -> None:
    report = form(wrong, *inputs)
    expected = wrong_pair()
    assert report.verdict == "fail"
    assert (report.findings[0].cause, report.findings[0].gradient) == ("constant-factor", "x")
    mine, theirs = (next(g for g in r.gradients if g.name == "x") for r in (report, expected))
    assert mine.worst_index == theirs.worst_index
    assert mine.actual == pytest.approx(theirs.actual, rel=1e-14)
    assert mine.expected == pytest.approx(theirs.expected, rel=1e-14)
