"""Repeated indices that a backward computes itself: writes that overwrite one another are named, whatever writes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from tests.mistakes.registry import normal

Spread = Callable[[Tensor, Tensor, Tensor], Tensor]
ENTRIES = normal(6)
CLOSE, APART = torch.tensor([0.4, 0.7, 4.1, 4.5]).double(), torch.tensor([0.4, 1.7, 3.1, 4.5]).double()


def cells(entries: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    low = points.detach().floor().long().clamp(0, entries.shape[0] - 2 if entries.shape[0] > 1 else 0)
    return low, points - low


def interpolated(entries: Tensor, points: Tensor) -> Tensor:
    low, part = cells(entries, points)
    return entries[low] + part * (entries.roll(-1)[low] - entries[low])


def rule(spread: Spread) -> Callable[..., tuple[Tensor, Tensor]]:
    def backward(grad_output: Tensor, output: Tensor, entries: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        low, part = cells(entries, points)
        zeros = torch.zeros_like(entries)
        high = spread(zeros.clone(), low, grad_output * part).roll(1)
        return spread(zeros, low, grad_output * (1 - part)) + high, grad_output * (entries.roll(-1)[low] - entries[low])

    return backward


def with_plus(target: Tensor, index: Tensor, values: Tensor) -> Tensor:
    target[index] += values
    return target


WRITES: dict[str, Spread] = {
    "+=": with_plus,
    "index_put": lambda target, index, values: target.index_put((index,), values),
    "scatter": lambda target, index, values: target.scatter_(0, index, values),
    "index_copy": lambda target, index, values: target.index_copy_(0, index, values),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_overwrites_is_named(name: str) -> None:
    (finding,) = gl.check(gl.Op(interpolated, rule(WRITES[name])), ENTRIES, CLOSE, probes=()).findings
    assert finding.cause == "duplicate-index"
    assert finding.explanation == (
        "backward writes 2 times at one index, and the last stays: the gradient is right when they are added up"
    )


def test_it_is_named_where_only_other_sizes_repeat_an_index() -> None:
    report = gl.check(gl.Op(interpolated, rule(with_plus)), ENTRIES, APART, probes=["sizes"])
    assert [f.cause for f in report.findings if f.severity == "error"] == ["duplicate-index"]


def test_repeated_indices_explain_nothing_where_the_gradient_is_wrong_without_them_too() -> None:
    halved = rule(lambda target, index, values: with_plus(target, index, values / 2))
    (finding,) = gl.check(gl.Op(interpolated, halved), ENTRIES, CLOSE, probes=()).findings
    assert finding.cause == "wrong-value"


def test_added_writes_pass() -> None:
    added = rule(lambda target, index, values: target.index_add_(0, index, values))
    assert gl.check(gl.Op(interpolated, added), ENTRIES, CLOSE).verdict == "pass"
