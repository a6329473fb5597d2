"""The first look at a derived call that numbers decide: what it settles by itself, and what is then looked at by element."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.comparison.numeric_look import Looked, look
from gradcheck_lab.model.limits import FORWARDS_OF_LOOKS
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Subject

F64 = torch.float64
DISTINCT = torch.randn(12, 12, generator=torch.Generator().manual_seed(0), dtype=F64)
EQUAL = torch.full((12, 12), 0.75, dtype=F64)
UPSTREAM = torch.randn(12, 12, generator=torch.Generator().manual_seed(1), dtype=F64)


def _ranks(x: torch.Tensor) -> torch.Tensor:
    """The rank of each element, from 1: among equal values, that of the one that moves changes, and all others' with it."""
    return x.flatten().argsort(stable=True).argsort().reshape(x.shape).to(F64) + 1


def _ranked(values: tuple[Any, ...], options: Any) -> tuple[Any, ...]:
    return (values[0] * _ranks(values[0]),)


def _looked(x: torch.Tensor, gradient: torch.Tensor) -> tuple[Looked, int]:
    """The first look at a gradient of `_ranked`, and how many forwards it and what it asks for take."""
    subject = Subject("ranked", "function", (x,), ("x",), ("x",), None, None, _ranked)  # type: ignore[arg-type]
    runner = Runner(subject)
    oracle = NumericOracle(runner, Case((x,), {}, (UPSTREAM,), 0))
    return look(subject, (x,), {0: gradient}, oracle), runner.evaluations.forward


def test_a_forward_that_jumps_whichever_element_moves_is_not_looked_at_by_element() -> None:
    looked, forwards = _looked(EQUAL, UPSTREAM * _ranks(EQUAL))
    assert looked.by_element == []
    assert forwards < FORWARDS_OF_LOOKS.value


@pytest.mark.parametrize("equal", [50, 100])
def test_a_wrong_gradient_beside_equal_values_is_looked_at_by_element(equal: int) -> None:
    x = torch.where(torch.arange(144).reshape(12, 12) < equal, EQUAL, DISTINCT)
    gradient = UPSTREAM * _ranks(x)
    gradient[-1, -1] *= 2
    looked, _ = _looked(x, gradient)
    assert looked.by_element == [0]


def test_a_right_gradient_of_distinct_values_is_settled_by_the_first_look() -> None:
    looked, forwards = _looked(DISTINCT, UPSTREAM * _ranks(DISTINCT))
    assert looked.by_element == []
    assert forwards < FORWARDS_OF_LOOKS.value / 10
