"""The cause of a fuzzed failure is that of a call with several elements, and what no drawn call ran is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.fuzzing.explained import with_causes_of
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.not_run import LinesNotRun, NotRun, SideNotTaken, neither_ran
from gradcheck_lab.specs import real


def softmax(x: Tensor) -> Tensor:
    return torch.softmax(x, -1)


def without_the_mean(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
    return (output * grad_output,)


def root_mean_square(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-3)


def without_the_statistic(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
    return (grad_output * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-3),)


def branches(x: Tensor) -> Tensor:
    if x.sum() > 1e300:
        return x * 4
    return torch.where(x < -1e299, x * 3, x * 2)


def branches_backward(grad_output: Tensor, output: Tensor, x: Tensor) -> Any:
    return (torch.where(x < -1e299, grad_output * 3, grad_output * 2),)


@pytest.mark.parametrize(
    ("op", "cause"),
    [((softmax, without_the_mean), "missing-term"), ((root_mean_square, without_the_statistic), "missing-term")],
    ids=["softmax", "statistic"],
)
def test_the_cause_is_that_of_a_larger_call_and_the_example_the_smallest(op: Any, cause: str) -> None:
    report = gl.fuzz(op, real("n d"), max_examples=5)
    (finding,) = (f for f in report.findings if f.severity == "error")
    assert report.failing_case is not None
    assert report.failing_case["words"] == "x: float64[1, 1]"
    assert finding.cause == cause
    assert finding.explanation.endswith(", for x: float64[5, 3]")


def told(cause: str, gradient: str = "x") -> gl.Report:
    finding = Finding(cause, "error", "wrong", gradient, explanation=f"why {cause}", suggestion="fix")
    return gl.Report("fail", "op", "op", (), (finding,), "autograd")


@pytest.mark.parametrize(
    ("small", "larger", "kept"),
    [
        ("wrong-value", "missing-term", "missing-term"),
        ("constant-factor", "missing-term", "missing-term"),
        ("zero-gradient", "missing-factor", "missing-factor"),
        ("constant-factor", "wrong-value", "constant-factor"),
        ("constant-factor", "value-dependent", "constant-factor"),
        ("constant-factor", "overflow", "constant-factor"),
        ("raises", "constant-factor", "raises"),
        ("duplicate-index", "duplicate-index", "duplicate-index"),
        ("upstream-ignored", "wrong-value", "upstream-ignored"),
    ],
)
def test_the_more_specific_cause_is_kept(small: str, larger: str, kept: str) -> None:
    (finding,) = with_causes_of(told(small), told(larger), "x: float64[9]").findings
    assert finding.cause == kept
    assert finding.explanation == (f"why {kept}" if kept == small else f"why {kept}, for x: float64[9]")


def test_a_cause_of_another_gradient_explains_nothing() -> None:
    assert with_causes_of(told("wrong-value"), told("missing-term", "w"), "").findings == told("wrong-value").findings


def test_what_no_drawn_call_ran_is_said() -> None:
    report = gl.fuzz((branches, branches_backward), real("n"), max_examples=5)
    line = branches.__code__.co_firstlineno + 2
    assert report.verdict == "pass"
    assert [(each.first, each.last, each.needs) for each in report.not_run.lines] == [(line, line, "x.sum() > 1e+300")]
    assert {each.condition for each in report.not_run.sides} == {"x < -1e+299"}
    assert "  not run: line" in str(report)


def test_jobs_that_share_the_examples_say_what_none_of_them_ran() -> None:
    side = SideNotTaken("a.py", "f", 3, "x > 9")
    one = NotRun((LinesNotRun("a.py", "f", 3, 6, "flag"), LinesNotRun("a.py", "g", 20, 21)), (side,), 4)
    other = NotRun((LinesNotRun("a.py", "f", 5, 9, "flag"),), (side, SideNotTaken("a.py", "f", 4, "x < 0")), 6)
    assert neither_ran(one, other) == NotRun((LinesNotRun("a.py", "f", 5, 6, "flag"),), (side,), 6)
    assert neither_ran(one, NotRun()).lines == ()
