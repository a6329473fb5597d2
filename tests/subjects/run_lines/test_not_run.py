"""What a report says of the lines and sides that no call ran: in which words, in every view, and never in its verdict."""

import json
import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

import gradcheck_lab as gl
from gradcheck_lab.model.not_run import LinesNotRun, NotRun, SideNotTaken
from gradcheck_lab.render.html import render_fragment
from gradcheck_lab.report import Report
from gradcheck_lab.subjects.run_lines.watch import current, watched
from tests.mistakes.registry import normal

# mypy: disable-error-code="override"

X, W, B = normal(4, 3), normal(2, 3, seed=1), normal(2, seed=2)
FILE = "test_not_run.py"


class Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Any, kind: str) -> Tensor:
        """A bias, and other kinds."""
        ctx.save_for_backward(x, w)
        ctx.has_bias = bias is not None
        y = x @ w.mT
        if kind == "none":
            raise ValueError(kind)
        if bias is not None:
            y = y + bias
            y = y * 1
        elif kind == "odd":
            y = -y
        for scale in kind.split()[1:]:
            y = y * float(scale)
        return shifted(y, kind)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        gx = gw = gb = None
        if ctx.needs_input_grad[0]:
            gx = g @ w
        if ctx.needs_input_grad[1]:
            gw = g.mT @ x
        if ctx.has_bias and ctx.needs_input_grad[2]:
            gb = g.sum(0)
        if ctx.needs_input_grad[3]:
            gb = None
        return gx, gw, gb, None


def shifted(y: Tensor, kind: str) -> Tensor:
    if kind != "shifted":
        return y
    y = y + 1
    return y


def first_line(of: Any) -> int:
    return int(of.__code__.co_firstlineno)


def lines(first: int, last: int, needs: str, function: str, of: Any) -> LinesNotRun:
    at = first_line(of)
    return LinesNotRun(FILE, function, at + first, at + last, needs)


def checked(*inputs: Any, probes: Any = ("missing_branches",)) -> gl.Report:
    return gl.check(Linear, *inputs, probes=list(probes))


def test_lines_that_need_a_bias_say_so() -> None:
    report = checked(X, W, None, "plain")
    assert report.verdict == "pass"
    assert report.not_run == NotRun((
        lines(9, 10, "bias is not None", "forward", Linear.forward),
        lines(12, 12, "kind == 'odd'", "forward", Linear.forward),
        lines(14, 14, "a turn of the loop over kind.split()[1:]", "forward", Linear.forward),
        lines(9, 9, "ctx.has_bias", "backward", Linear.backward),
        lines(3, 4, "kind == 'shifted'", "shifted", shifted),
    ))  # fmt: skip


def test_lines_behind_else_need_the_opposite_and_refusals_are_left_out() -> None:
    report = checked(X, W, B, "shifted 2")
    assert [(each.function, each.needs) for each in report.not_run.lines] == [
        ("forward", "bias is None"), ("shifted", "kind == 'shifted'")
    ]  # fmt: skip


def test_the_printed_report_has_one_line_and_the_page_all_of_them() -> None:
    report = checked(X, W, None, "plain")
    at, back = first_line(Linear.forward), first_line(Linear.backward)
    printed = [line for line in str(report).splitlines() if "not run" in line]
    assert printed == [
        f"  not run: lines {at + 9}-{at + 10} of {FILE} (needs bias is not None), "
        f"line {at + 12} of {FILE} (needs kind == 'odd'), "
        f"line {at + 14} of {FILE} (needs a turn of the loop over kind.split()[1:]), 2 other places"
    ]
    page = render_fragment(report)
    assert f"<li>line {back + 9} of {FILE} (needs ctx.has_bias), in backward</li>" in page
    assert page.count("<li>") == 5


def test_json_has_all_of_it_and_older_files_have_nothing() -> None:
    report = checked(X, W, None, "plain")
    data = json.loads(json.dumps(report.to_dict()))
    assert Report.from_dict(data) == report
    older = {key: value for key, value in data.items() if key != "not_run"} | {"schema": 3}
    assert Report.from_dict(older).not_run == NotRun()


def test_sides_of_labels_are_said_in_the_users_words() -> None:
    def backward(g: Tensor, y: Tensor, x: Tensor, labels: Tensor) -> Any:
        return torch.where(labels == -100, 0, g), None

    op = gl.Op(lambda x, labels: x.masked_fill(labels == -100, 0), backward, name="masked")
    report = gl.check(op, X, torch.ones(4, 3, dtype=torch.int64), probes=["missing_branches"])
    assert report.verdict == "pass"
    assert report.not_run.sides == (
        SideNotTaken(FILE, "<lambda>", first_line(op.forward), "labels == -100"),
        SideNotTaken(FILE, "backward", first_line(backward) + 1, "labels == -100"),
    )
    assert "  not run: 2 of 4 branches of values" in str(report).splitlines()


def test_nothing_is_said_where_all_ran_or_only_the_call_itself_was_made() -> None:
    square = gl.Op(lambda x: x * x, lambda g, y, x: (2 * g * x,), name="square")
    assert gl.check(square, X, probes=["missing_branches"]).not_run == NotRun()
    assert checked(X, W, None, "plain", probes=()).not_run == NotRun()
    assert "not run" not in str(checked(X, W, None, "plain", probes=["state"]))


def test_ops_of_this_package_are_never_listed() -> None:
    assert gl.check(gl.ops.gelu, X, probes=["missing_branches"]).not_run == NotRun()


def test_a_debugger_is_left_alone() -> None:
    def trace(frame: Any, event: str, argument: object) -> Any:
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with watched(True) as watch:
            assert watch is None
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("raised", [True, False])
def test_nothing_stays_behind(raised: bool) -> None:
    def backward(g: Tensor, y: Tensor, x: Tensor) -> Any:
        if raised:
            raise RuntimeError("no")
        return (g,)

    before = sys.gettrace()
    gl.check(gl.Op(lambda x: x * 1, backward, name="op"), X, probes=["missing_branches"])
    assert current() is None
    assert sys.gettrace() is before


def doubled_backward(grad_output: Tensor, output: Tensor, x: Tensor) -> Tensor:
    if x.shape[0] == 77:
        return grad_output * 3
    return grad_output * 2


def test_a_backward_is_watched_where_the_forward_has_shown_all_it_can() -> None:
    report = gl.check(gl.Op(lambda x: x * 2, doubled_backward), X)

    (lines,) = report.not_run.lines
    assert (lines.function, lines.needs) == ("doubled_backward", "x.shape[0] == 77")
