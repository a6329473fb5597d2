"""Digits that a backward loses near zero: right to most of float64's, wrong in float32, in which people train."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import positive

Rule = Callable[[Tensor, Tensor, Tensor], Tensor]
Forward = Callable[[Tensor], Tensor]


def log_of_one_minus_exp(x: Tensor) -> Tensor:
    far = torch.log1p(-torch.exp(-torch.where(x < 0.6931, torch.ones_like(x), x)))
    return torch.where(x < 0.6931, torch.log(-torch.expm1(-x)), far)


def root_less_one(x: Tensor) -> Tensor:
    """log(sqrt(1 + x) - 1), without the difference."""
    return x.log() - (torch.sqrt(1 + x) + 1).log()


LOST: list[tuple[Forward, Rule, Rule]] = [
    (log_of_one_minus_exp, lambda g, y, x: g * torch.exp(-x) / (1 - torch.exp(-x)), lambda g, y, x: g / torch.expm1(x)),
    (lambda x: torch.expm1(x).log(), lambda g, y, x: g * x.exp() / (x.exp() - 1), lambda g, y, x: g * x.exp() / torch.expm1(x)),
    (lambda x: torch.log1p(x).log(), lambda g, y, x: g / (1 + x) / (1 + x).log(), lambda g, y, x: g / (1 + x) / torch.log1p(x)),
    (
        root_less_one,
        lambda g, y, x: g / (2 * torch.sqrt(1 + x) * (torch.sqrt(1 + x) - 1)),
        lambda g, y, x: g * (torch.sqrt(1 + x) + 1) / (2 * torch.sqrt(1 + x) * x),
    ),
]
# the forward loses as many itself, or they are digits of elements that are as good as zero
SOUND: list[tuple[Forward, Rule]] = [
    (lambda x: (1 - torch.exp(-x)) * 3, lambda g, y, x: g * (3 - y)),
    (lambda x: torch.sin(x) / x, lambda g, y, x: g * (x * torch.cos(x) - torch.sin(x)) / x**2),
    (torch.tanh, lambda g, y, x: g * (1 - y * y)),
    (torch.nn.functional.softplus, lambda g, y, x: g * (1 - torch.exp(-y))),
    (lambda x: torch.softmax(x, -1), lambda g, y, x: y * (g - (g * y).sum(-1, keepdim=True))),
]


@pytest.mark.parametrize(("forward", "wrong", "right"), LOST)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_no_digit_that_float32_would_have_is_lost(forward: Forward, wrong: Rule, right: Rule, dtype: torch.dtype) -> None:
    x = positive(4, 5).to(dtype)
    report = gl.check(gl.Op(forward, wrong), x, probes=["values"])
    assert [(f.cause, f.probe) for f in report.findings if f.severity == "error"] == [("low-precision", "values")]
    assert "in float32, with values of about" in report.findings[0].message
    assert gl.check(gl.Op(forward, right), x, probes=["values"]).verdict == "pass"


@pytest.mark.parametrize(("forward", "rule"), SOUND)
def test_digits_that_nobody_keeps_are_no_mistake(forward: Forward, rule: Rule) -> None:
    assert gl.check(gl.Op(forward, rule), positive(4, 5), probes=["values"]).verdict == "pass"
