"""Mistakes in graphs of numbers are named as the same mistakes in ops are, by what each operation does by itself."""

import math
from collections.abc import Callable
from typing import Any

import pytest

import gradcheck_lab as gl
from tests.subjects.value_graphs import node_class


def diamond(a: Any, b: Any) -> Any:
    return (a * b + a * a + b).tanh()


def one_use(a: Any, b: Any) -> Any:
    return (a * b).tanh()


def deep(a: Any, b: Any, c: Any) -> Any:
    h = a * b
    return (h + c) * h.tanh() + h


def of_all(a: Any, b: Any) -> Any:
    return (a / b) ** 3 + (a * b).relu() + a.tanh()


CALLS: dict[Callable[..., Any], tuple[float, ...]] = {
    diamond: (0.3, -0.5), one_use: (0.3, -0.5), deep: (0.7, -1.2, 0.4), of_all: (0.9, 0.6),
}  # fmt: skip
MISTAKES: dict[str, tuple[Callable[..., Any], str, str | None]] = {
    "assigned": (diamond, "fan-out-overwritten", "Value."),
    "assigned-in-mul": (diamond, "fan-out-overwritten", "Value.__mul__"),
    "operands-swapped": (one_use, "slots-swapped", "Value.__mul__"),
    "no-upstream": (one_use, "upstream-ignored", "Value.__mul__"),
    "power-of-k": (of_all, "wrong-operand", "Value.__pow__"),
    "power-without-factor": (of_all, "constant-factor", "Value.__pow__"),
    "quotient-sign": (of_all, "sign", "Value.__truediv__"),
    "relu-without-mask": (of_all, "missing-factor", "Value.relu"),
    "tanh-of-the-input": (deep, "wrong-operand", "Value.tanh"),
    "breadth-first": (deep, "missing-term", None),
}


@pytest.mark.parametrize("function", CALLS)
def test_a_right_graph_passes_in_silence(function: Callable[..., Any]) -> None:
    report = gl.check(gl.Graph(function, node_class()), *CALLS[function])
    assert report.verdict == "pass", report
    assert not [finding for finding in report.findings if finding.severity != "note"], report


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_the_operation_that_has_it(mistake: str) -> None:
    function, cause, where = MISTAKES[mistake]
    for _ in range(3):  # the nodes of a set are met in another order each time
        report = gl.check(gl.Graph(function, node_class(mistake)), *CALLS[function])
        assert report.verdict == "fail", report
        first = next(finding for finding in report.findings if finding.severity == "error")
        assert first.cause == cause, report
        assert first.op is None if where is None else str(first.op).startswith(where), report


@pytest.mark.parametrize("wrong", [True, False])
def test_an_operation_that_the_program_defines_is_looked_at_too(wrong: bool) -> None:
    kind = node_class()

    def erf(v: Any) -> Any:
        out = kind(math.erf(v.data), (v,))

        def _backward() -> None:
            share = 2 / math.pi**0.5 * math.exp(-v.data * v.data) * out.grad
            v.grad = share if wrong else v.grad + share

        out._backward = _backward
        return out

    report = gl.check(gl.Graph(lambda a, b: erf(a) * b + erf(erf(a) + b) + a, kind), *CALLS[diamond])
    errors = [(finding.cause, finding.op) for finding in report.findings if finding.severity == "error"]
    assert errors[:1] == ([("fan-out-overwritten", "Value.erf")] if wrong else []), report


def test_an_assignment_that_no_second_use_meets_is_no_mistake_of_the_function() -> None:
    assert gl.check(gl.Graph(lambda a: (a * 2.0).tanh(), node_class("assigned")), 0.3).verdict == "pass"


def test_an_assignment_is_met_where_one_node_is_given_twice() -> None:
    report = gl.check(gl.Graph(one_use, node_class("assigned")), *CALLS[one_use], probes={"aliased_inputs"})
    assert [finding.cause for finding in report.findings] == ["aliased-inputs"], report
    assert not gl.check(gl.Graph(one_use, node_class()), *CALLS[one_use], probes={"aliased_inputs"}).findings


def test_a_relu_that_is_wrong_below_zero_fails_where_the_call_is_above() -> None:
    def above(a: Any, b: Any) -> Any:
        return (a * b).relu()

    report = gl.check(gl.Graph(above, node_class("relu-without-mask")), 0.5, 1.5)
    assert report.verdict == "fail"
    assert report.findings[0].op == "Value.relu"


def test_the_breadth_first_walk_is_told_by_the_right_order() -> None:
    report = gl.check(gl.Graph(deep, node_class("breadth-first")), *CALLS[deep], probes=())
    assert report.findings[0].explanation == (
        "it is right when each node sends on its gradient after all that are made of it: backward takes another order"
    )
