"""What a fuzz run says of the calls that it drew: each is counted once under what it had, and the failing ones in order."""

from __future__ import annotations

import json

import torch

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.model.drawn import DrawnCalls, Outcomes, ShrinkStep, Tried, both
from gradcheck_lab.report import Report
from tests.render.browsing import fuzzed, settings_of


def counted(drawn: DrawnCalls | None, kind: str, name: str) -> dict[str, Outcomes]:
    """The outcomes by value of one property that was tried."""
    assert drawn is not None
    (row,) = [row for row in drawn.tried if (row.property, row.name) == (kind, name)]
    return {each.value: each for each in row.outcomes}


def totals(row: Tried) -> tuple[int, int, int, int]:
    return (
        sum(each.right for each in row.outcomes), sum(each.wrong for each in row.outcomes),
        sum(each.refused for each in row.outcomes), sum(each.not_compared for each in row.outcomes),
    )  # fmt: skip


def test_every_call_of_a_sound_op_is_counted_under_what_it_had() -> None:
    with settings_of(database=None):
        report = gl.fuzz(ops.softmax_cross_entropy, max_examples=60)
    drawn = report.drawn
    assert drawn is not None
    assert (drawn.calls, drawn.shrunk) == (60, ())
    (of_calls,) = [each for each in report.coverage if each.kind == "drawn call"]
    refused, empty = of_calls.skipped["refused"], of_calls.skipped["no elements"]
    for row in drawn.tried:
        if not row.name.startswith("*") or row.property == "axes":
            assert totals(row) == (of_calls.compared, 0, refused, empty)
    assert {row.property for row in drawn.tried} == {"size", "axes", "values", "layout", "dtype", "option"}
    assert counted(drawn, "size", "c")["33"].right > 0
    assert counted(drawn, "size", "c")["0"].right == 0
    assert list(counted(drawn, "values", "logits")) == ["ordinary", "equal", "ties", "zeros", "whole", "large", "tiny"]


def test_failing_calls_are_counted_where_they_fail_and_shrink_to_the_smallest() -> None:
    report = fuzzed()
    drawn = report.drawn
    assert report.verdict == "fail"
    assert drawn is not None
    assert drawn.calls > report.examples
    broadcast = counted(drawn, "broadcast", "y")
    assert broadcast["yes"].wrong > 0
    assert broadcast["no"].wrong == 0
    first, last = drawn.shrunk[0], drawn.shrunk[-1]
    assert (first.call, last.words.removesuffix(", simple values")) == (report.examples, report.failing_case["words"])
    assert [step.call for step in drawn.shrunk] == sorted({step.call for step in drawn.shrunk})
    assert first.elements > last.elements
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_a_check_has_no_drawn_calls() -> None:
    assert gl.check(ops.relu, torch.ones(2), probes=()).drawn is None


def test_runs_on_one_object_are_added() -> None:
    one = DrawnCalls(3, (Tried("size", "n", (Outcomes("1", 2), Outcomes("2", 0, 1))),), (ShrinkStep(3, "x", 2),))
    other = DrawnCalls(2, (Tried("size", "n", (Outcomes("1", 1, 0, 1),)), Tried("size", "m", (Outcomes("1", 2),))))
    assert both(one, None) == one
    assert both(None, other) == other
    assert both(one, other) == DrawnCalls(
        5,
        (Tried("size", "n", (Outcomes("1", 3, 0, 1), Outcomes("2", 0, 1))), Tried("size", "m", (Outcomes("1", 2),))),
        one.shrunk,
    )
