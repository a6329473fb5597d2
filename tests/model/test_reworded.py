"""Findings say the same, and checks decide the same, whatever the words of their messages are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_lab as gl
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.report import Report
from gradcheck_lab.specs import real
from tests.mistakes.catalogue import ROWS
from tests.mistakes.registry import Mistake
from tests.mistakes.test_catalogue import COSTLY

# the first planted mistake of every eighth cause, and of those where code raises; what an unwritten element shows is as other
# memory happens to be
FIRST = {row.cause: row for row in reversed(ROWS) if row.cause != "unwritten-elements" and str(row) not in COSTLY}
CHOSEN = sorted({*sorted(FIRST)[::8], "raises", "wrong-dtype", "size-specialised", "option-specialised"})
SAMPLE = [FIRST[cause] for cause in CHOSEN]


@contextmanager
def reworded() -> Iterator[None]:
    """Every text of every finding says something else, and no two say the same."""
    made, numbers = Finding.__init__, count()

    def init(self: Finding, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        for name in ("message", "explanation", "suggestion", "where"):
            object.__setattr__(self, name, f"reworded {next(numbers)}")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Finding, "__init__", init)
        yield


def told(report: Report) -> list[tuple[Any, ...]]:
    """What the findings of a report say apart from their words."""
    return [(f.cause, f.severity, f.gradient, f.op, f.probe, f.stage, f.exception) for f in report.findings]


@pytest.mark.parametrize("mistake", SAMPLE, ids=str)
def test_reworded_messages_leave_verdict_and_findings(mistake: Mistake) -> None:
    before = mistake.check_wrong()
    with reworded():
        after, sound = mistake.check_wrong(), mistake.check_sound()
    assert after.findings[0].message.startswith("reworded")
    assert (after.verdict, told(after)) == (before.verdict, told(before))
    assert sound.verdict == "pass", sound


class Square32(torch.autograd.Function):
    """A forward that takes float32 alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError("only float32 is supported")
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * grad_output


class Inverted(torch.autograd.Function):
    """A backward that says no to a matrix without an inverse."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x @ x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        torch.linalg.inv(x)
        return grad_output @ x.mT + x.mT @ grad_output


class NotForSix(torch.autograd.Function):
    """A backward that says no on purpose to some calls that its forward takes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if x.shape[-1] == 6:
            raise NotImplementedError("six columns")
        return grad_output * x.exp()


@pytest.mark.parametrize(
    ("function", "spec", "remarked"),
    [(Square32, "n d", None), (Inverted, "n n", "_LinAlgError"), (NotForSix, "n d", "NotImplementedError")],
)
def test_fuzz_says_the_same_with_reworded_messages(function: Any, spec: str, remarked: str | None) -> None:
    before = gl.fuzz(function, real(spec), max_examples=40)
    with reworded():
        after = gl.fuzz(function, real(spec), max_examples=40)
    assert before.verdict == after.verdict == "pass", before
    assert told(before) == told(after)
    assert remarked in {f.exception for f in before.findings} | {None}


def test_refusal_of_a_singular_matrix_is_a_note_however_it_is_worded() -> None:
    x = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with reworded():
        report = gl.check(Inverted, x)
    assert report.verdict == "pass", report
    assert {f.severity for f in report.findings if f.exception == "_LinAlgError"} == {"note"}


def test_exception_and_stage_say_whose_code_raised_what() -> None:
    report = gl.check(NotForSix, torch.ones(1, 6, dtype=torch.float64))
    (found,) = report.findings
    assert (found.cause, found.stage, found.exception) == ("raises", "backward", "NotImplementedError")
    report = gl.check(Square32, torch.ones(1, 3, dtype=torch.float64))
    (found,) = report.findings
    assert (found.cause, found.stage, found.exception) == ("raises", "forward", "TypeError")


def test_stage_and_exception_are_in_the_report_as_data() -> None:
    report = gl.check(NotForSix, torch.ones(1, 6, dtype=torch.float64))
    data = report.to_dict()
    assert (data["findings"][0]["stage"], data["findings"][0]["exception"]) == ("backward", "NotImplementedError")
    assert gl.Report.from_dict(data) == report
