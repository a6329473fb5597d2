"""Programs of many equal calls: a few of them are run alone on derived calls, and a mistake in one of the others is found."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.comparison.program import _some_of_each
from gradcheck_lab.model.limits import EQUAL_CALLS_ALONE
from gradcheck_lab.subjects.subject import Call


def _step(wrong_between: tuple[float, float] | None, shared: bool = False) -> gl.Op:
    """x + 1, plus a shared weight or not; for a batch of one its rule is wrong where the mean of x is between two numbers."""

    def rule(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *weight: torch.Tensor) -> Any:
        at = float(x.mean()) if x.numel() else 0.0
        factor = 1.5 if wrong_between and x.shape[0] == 1 and wrong_between[0] < at < wrong_between[1] else 1.0
        if not weight:
            return (factor * grad_output,)
        return grad_output, factor * (grad_output * torch.ones_like(x)).sum(0)

    forward = (lambda x, weight: x + 1 + 0 * x + weight) if shared else (lambda x: x + 1)
    return gl.Op(forward, rule, name="step")


@pytest.mark.parametrize("shared", [False, True])
def test_one_call_of_many_that_is_wrong_on_a_derived_call_is_found_and_named(shared: bool) -> None:
    def program(x: Any, *weights: Any) -> Any:
        for _ in range(24):
            x = step(x, *weights)
        return x

    inputs = [0.1 * torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))]
    inputs += [torch.zeros(3, dtype=torch.float64)] if shared else []
    step = _step(None, shared)
    assert gl.check(program, *inputs).verdict == "pass"
    step = _step((13.5, 14.5), shared)
    report = gl.check(program, *inputs)
    assert report.verdict == "fail"
    assert {f.op for f in report.findings if f.severity == "error"} == {"step (x)"}


def test_the_calls_that_are_run_alone_are_a_few_of_each_kind_from_first_to_last() -> None:
    op, small, large = _step(None), torch.ones(2), torch.ones(3)
    calls = [Call(op, (small if k % 2 else large,), {}, (small,), False) for k in range(100)]
    calls.append(Call(op, (torch.ones(4),), {}, (small,), False))
    chosen = _some_of_each(calls)
    assert chosen[0] == 0
    assert chosen[-3:] == [98, 99, 100]
    assert Counter(k % 2 for k in chosen[:-1]) == {0: EQUAL_CALLS_ALONE.value, 1: EQUAL_CALLS_ALONE.value}


def test_runs_of_the_rule_grow_with_the_calls_of_a_program_and_not_faster() -> None:
    runs: Counter[int] = Counter()

    def counted(length: int) -> int:
        def rule(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Any:
            runs[length] += 1
            return (grad_output * (1 - output * output),)

        op = gl.Op(torch.tanh, rule, name="tanh")

        def program(x: Any) -> Any:
            for _ in range(length):
                x = op(x)
            return x

        x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        report = gl.check(program, x)
        assert report.verdict == "pass"
        return report.evaluations["forward"]

    few, many = counted(10), counted(20)
    assert runs[20] <= 2.1 * runs[10]
    assert many <= 1.2 * few
