"""Different defaults are named with their values and places, are tried, and are left as they were."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import gradcheck_lab as gl

X = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.1, -0.3]])


def leaky(x: Tensor, slope: float = 0.01) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def backward(grad_output: Tensor, output: Tensor, x: Tensor, slope: float = 0.1) -> Any:
    return (torch.where(x > 0, grad_output, slope * grad_output),)


def by_another_name(grad_output: Tensor, output: Tensor, x: Tensor, negative_slope: float = 0.1) -> Any:
    return (torch.where(x > 0, grad_output, negative_slope * grad_output),)


def twice(grad_output: Tensor, output: Tensor, x: Tensor, slope: float = 0.1) -> Any:
    return (2 * torch.where(x > 0, grad_output, 0.01 * grad_output),)


def from_the_output(grad_output: Tensor, output: Tensor, x: Tensor, slope: float = 0.1) -> Any:
    return (torch.where(x > 0, grad_output, output / x * grad_output),)


def test_both_defaults_are_named_with_their_functions() -> None:
    (finding,) = (f for f in gl.check((leaky, backward), X, probes=()).findings if f.severity == "error")
    file = "tests/examination/test_defaults.py"
    places = [f"{file}:{function.__code__.co_firstlineno}" for function in (leaky, backward)]
    assert (finding.cause, finding.explanation) == (
        "default-mismatch",
        f"forward takes slope=0.01 by default ({places[0]}), and backward slope=0.1 ({places[1]}): "
        "the gradient is right with slope=0.01",
    )
    assert backward.__defaults__ == (0.1,)


def test_one_option_may_have_two_names() -> None:
    (finding,) = (f for f in gl.check((leaky, by_another_name), X, probes=()).findings if f.severity == "error")
    assert finding.cause == "default-mismatch"
    assert finding.explanation.endswith(": the gradient is right with negative_slope=0.01")


def test_an_option_that_is_passed_has_no_default() -> None:
    assert gl.check((leaky, backward), X, options={"slope": 0.3}).verdict == "pass"


def test_another_mistake_beside_different_defaults_keeps_its_own_cause() -> None:
    (finding,) = (f for f in gl.check((leaky, twice), X, probes=()).findings if f.severity == "error")
    assert finding.cause == "constant-factor"


def test_a_default_that_the_backward_does_not_use_is_no_mistake() -> None:
    assert gl.check((leaky, from_the_output), X, probes=()).verdict == "pass"
