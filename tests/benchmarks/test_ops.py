"""The benchmark of the ops: it has a call for each of them, and says what is slow and why."""

from __future__ import annotations

import pytest
import torch

from benchmarks.ops import CALLS, REASONS, Cost, call_of, lines_of, measure
from gradcheck_lab import ops
from gradcheck_lab.rules.op import Op

EVERY = {op.name: op for family in ops.FAMILIES.values() for op in family}


@pytest.mark.parametrize("op", EVERY.values(), ids=lambda op: op.name)
def test_every_op_has_a_call_that_is_measured(op: Op) -> None:
    case = call_of(op, 400)
    assert case is not None
    cost = measure(op, case, seconds=0.0, rounds=1)
    assert cost.name == op.name
    assert cost.by_hand > 0
    assert cost.autograd > 0


@pytest.mark.parametrize("name", ["relu", "linear", "conv2d", "scaled_dot_product_attention", "outer"])
def test_calls_have_about_a_million_elements(name: str) -> None:
    case = call_of(EVERY[name], 1_000_000)
    assert case is not None
    largest = max(value.numel() for value in case.inputs if isinstance(value, torch.Tensor))
    output = EVERY[name].forward(*case.inputs, **case.options)
    assert 2e5 <= max(largest, output.numel()) <= 4e6


def test_calls_and_reasons_are_those_of_ops() -> None:
    assert set(CALLS) | set(REASONS) <= set(EVERY)


def test_the_slowest_ratio_comes_first_with_its_reason() -> None:
    costs = [Cost("relu", 1.0, 2.0, "(3,)"), Cost("gelu", 4.0, 2.0, "(3,)"), Cost("tanh", 6.0, 2.0, "(3,)")]
    lines = lines_of(costs)
    assert [line.split()[0] for line in lines[1:] if not line.startswith(" ")] == ["tanh", "gelu", "relu", "3"]
    assert lines[2].strip() == "no reason is known: mend it"
    assert lines[4].strip() == REASONS["gelu"]
    assert lines[-1] == "3 ops, median ratio 2.00, 2 above 1.5, 1 of them without a reason"
