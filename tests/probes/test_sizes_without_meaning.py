"""Derived sizes that a forward cannot mean, and values that only sums over more elements make: no errors of the gradient."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from tests.mistakes.registry import normal

# mypy: disable-error-code="override"


def halves(x: Tensor, way: str) -> tuple[Tensor, Tensor]:
    n = x.shape[-1] // 2
    if way == "chunk":
        a, b = x.chunk(2, -1)
    elif way == "split":
        a, b = x.split((x.shape[-1] + 1) // 2, -1)
    else:
        a, b = x[..., :n], x[..., n:]
    return a, b


def rotary(way: str, wrong: bool = False) -> Any:
    class Rotary(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            a, b = halves(x, way)
            return 2 * x + torch.cat([-b, a], -1)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            a, b = halves(g, way)
            return 2 * g + torch.cat([-b, a] if wrong else [b, -a], -1)

    return Rotary


@pytest.mark.parametrize("way", [*(pytest.param(way, marks=pytest.mark.thorough) for way in ("chunk", "split")), "slices"])
def test_odd_size_of_halves_is_not_meant(way: str) -> None:
    report = gl.check(rotary(way), normal(2, 5, 4), probes=("sizes",))
    assert report.verdict == "pass", report
    assert gl.check(rotary(way, wrong=True), normal(2, 5, 4), probes=("sizes",)).verdict == "fail"


def quarters(wrong: bool) -> Any:
    class Reversed(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return torch.cat(x.chunk(4, -1)[::-1], -1)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            found = torch.cat(g.chunk(4, -1)[::-1], -1)
            if wrong and g.shape[0] > 2:  # a block of two rows
                found = torch.cat([found[:2], 2 * found[2:]])
            return found

    return Reversed


def test_parts_hide_no_mistake_along_another_axis() -> None:
    assert gl.check(quarters(False), normal(2, 8), probes=("sizes",)).verdict == "pass"
    report = gl.check(quarters(True), normal(2, 8), probes=("sizes",))
    assert [f.cause for f in report.findings if f.severity == "error"] == ["size-specialised"], report


def test_uneven_parts_of_the_call_itself_are_meant() -> None:
    assert gl.check(rotary("chunk"), normal(2, 5), probes=()).verdict == "fail"


def fixed_point(wrong: bool) -> Any:
    class FixedPoint(Function):
        """z = tanh(z W' + x), by 60 iterations, which contract as long as W is small."""

        @staticmethod
        def forward(ctx: Any, x: Tensor, W: Tensor) -> Tensor:
            z = torch.zeros_like(x)
            for _ in range(30):
                z = torch.tanh(z @ W.t() + x)
            ctx.save_for_backward(z, W)
            return z

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            z, W = ctx.saved_tensors
            d, u = 1 - z * z, g.clone()
            for _ in range(30):
                u = g + (u * d) @ W
            if wrong and z.shape[1] > 4:
                u = 1.5 * u
            return u * d, (u * d).t() @ z

    return FixedPoint


def test_iteration_that_does_not_converge_at_a_size_says_nothing_of_the_size() -> None:
    call = normal(3, 4), 0.1 * normal(4, 4, seed=1)
    report = gl.check(fixed_point(False), *call, probes=("sizes",))
    assert report.verdict == "pass", report
    report = gl.check(fixed_point(True), *call, probes=("sizes",))
    assert {f.cause for f in report.findings if f.severity == "error"} == {"size-specialised"}, report


def newton(wrong: bool) -> Any:
    class Root(Function):
        """The square root by Newton's iteration, which does not come to an end at zero."""

        @staticmethod
        def forward(ctx: Any, a: Tensor) -> Tensor:
            y = (a + 1) / 2
            for _ in range(30):
                y = 0.5 * (y + a / y)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (y,) = ctx.saved_tensors
            return g / (2 * y) + (0.01 * g * (y < 0.3) if wrong else 0)

    return Root


def test_iteration_that_does_not_converge_at_zero_says_nothing_of_zeros() -> None:
    assert gl.check(newton(False), normal(5).abs() + 0.5, probes=("values",)).verdict == "pass"


@pytest.mark.thorough
def test_iteration_that_does_not_converge_at_zero_hides_no_mistake_beside_it() -> None:
    assert gl.check(newton(True), normal(5).abs() + 0.05, probes=("values",)).verdict == "fail"


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_wrong_gradient_at_zero_alone_is_caught(power: float) -> None:
    class Power(Function):
        @staticmethod
        def forward(ctx: Any, a: Tensor) -> Tensor:
            ctx.save_for_backward(a)
            return a**power

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (a,) = ctx.saved_tensors
            return torch.where(a == 0, 7 * g, power * a ** (power - 1) * g)

    report = gl.check(Power, normal(5), probes=("values",))
    assert {f.cause for f in report.findings if f.severity == "error"} == {"value-dependent"}, report
