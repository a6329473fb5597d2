"""Exceptions of the user's code: what they say, also when their own `__str__` raises."""

import ast

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.model.user_errors import class_and_line, first_line, text_of
from tests.package_trees import trees


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_that_cannot_be_written_is_its_class():
    assert (text_of(Mute()), first_line(Mute()), first_line(Mute(), "nothing")) == ("", "Mute", "nothing")
    assert class_and_line(Mute()) == "Mute: no message"


def test_first_line_leaves_blank_lines_out():
    assert first_line(ValueError("\n  wrong size\nof the input")) == "wrong size"


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_check_reports_an_exception_that_cannot_be_written(where):
    def fails(*_):
        raise Mute

    op = gl.Op(fails, lambda g, y, x: g, name="mute") if where == "forward" else gl.Op(lambda x: x * 1, fails, name="mute")
    report = gl.check(op, torch.randn(3, dtype=torch.float64))
    assert (report.verdict, report.findings[0].cause, report.findings[0].explanation) == ("fail", "raises", "Mute")
    assert "Mute" in str(report)


def test_a_refused_delivery_that_says_nothing_is_no_crash():
    class Silent(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            raise ValueError

    report = gl.check(Silent, torch.randn(3, dtype=torch.float64))
    assert [(f.cause, f.explanation) for f in report.findings if f.severity == "error"] == [("raises", "ValueError")]


def test_only_one_place_takes_the_first_line_of_an_exception():
    def own(node):  # str(error)....splitlines()
        if not (isinstance(node, ast.Attribute) and node.attr == "splitlines"):
            return False
        calls = (call for call in ast.walk(node.value) if isinstance(call, ast.Call))
        return any(getattr(c.func, "id", "") == "str" and isinstance(c.args[0], ast.Name | ast.Attribute) for c in calls)

    found = {f"{place}:{node.lineno}" for place, tree in trees().items() for node in ast.walk(tree) if own(node)}
    assert not found, f"use model.user_errors.first_line: {sorted(found)}"
