"""A backward that raises in one dtype alone: a mistake where it falls over, not where it says no, whatever the message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
Rule = Callable[[Tensor, Tensor], Tensor]


def squared(rule: Rule) -> Any:
    """x² by its rows, with a backward of its own."""

    class Squared(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return rule(x, grad_output)

    return Squared


def matrix_product(x: Tensor, grad: Tensor) -> Tensor:
    """What torch says holds the word dtype."""
    return 2 * x * grad @ torch.eye(3)


def added_rows(x: Tensor, grad: Tensor) -> Tensor:
    """What torch says does not: "self (Double) and source (Float) must have the same scalar type"."""
    return torch.zeros(x.shape).index_add(0, torch.arange(len(x)), 2 * x * grad)


def convolution(x: Tensor, grad: Tensor) -> Tensor:
    """What torch says does not: "expected scalar type Double but found Float"."""
    return torch.nn.functional.conv1d((2 * x * grad)[:, None], torch.ones(1, 1, 1))[:, 0]


def asserted(x: Tensor, grad: Tensor) -> Tensor:
    assert x.dtype == torch.float32
    return 2 * x * grad


def not_taken(x: Tensor, grad: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        raise ValueError("the dtype has to be float32")
    return 2 * x * grad


def not_implemented(x: Tensor, grad: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        raise NotImplementedError("float32 only")
    return 2 * x * grad


@pytest.mark.parametrize("rule", [matrix_product, added_rows, convolution], ids=lambda rule: rule.__name__)
def test_backward_that_falls_over_in_float64_has_the_wrong_dtype(rule: Rule) -> None:
    report = gl.check(squared(rule), X)
    (found,) = [f for f in report.findings if f.severity == "error"]
    assert (found.cause, found.probe, found.stage, found.exception) == ("wrong-dtype", "dtypes", "backward", "RuntimeError")


@pytest.mark.parametrize("rule", [asserted, not_taken, not_implemented], ids=lambda rule: rule.__name__)
def test_backward_that_says_no_to_float64_passes(rule: Rule) -> None:
    report = gl.check(squared(rule), X)
    assert report.verdict == "pass", report
    assert {f.severity for f in report.findings} <= {"note"}, report
