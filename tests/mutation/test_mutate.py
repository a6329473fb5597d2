"""`mutate`: what check notices, what is equivalent, what ends or hangs its process; the report and its forms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.model.mutants import Mutant
from tests.mutation import layers

X = torch.tensor([-1.0, 0.0, 0.5, 2.0], dtype=torch.float64)


def found(report: gl.MutationReport) -> dict[str, str]:
    return {mutant.after: mutant.check for mutant in report.mutants}


def test_a_wrong_mutant_is_noticed_and_another_right_backward_is_not_counted() -> None:
    report = gl.mutate(layers.relu, X, kinds={"other-comparison", "double"})
    assert found(report) == {
        "return (2 * (grad_output * (x > 0)),)": "noticed",
        "return (grad_output * (x >= 0),)": "equivalent",
    }
    comparison = next(mutant for mutant in report.mutants if mutant.kind == "other-comparison")
    assert comparison.what == "its gradients are others, and right as well"
    assert (report.verdict, len(report.counted), report.survivors) == ("pass", 1, ())
    assert str(report) == "relu: 1 of 1 mutants noticed by check\nnot counted: 1 equivalent"


@pytest.mark.thorough
def test_a_line_that_no_call_runs_is_said_to_be_unreached() -> None:
    report = gl.mutate(layers.scaled_tanh, X, kinds={"drop-factor"})
    unreached = [mutant.after for mutant in report.mutants if mutant.check == "unreached"]
    assert unreached[:2] == ["ratio = x.tanh()", "ratio = grad_output"]
    assert str(report).splitlines()[-1] == f"not counted: {len(unreached)} in lines that no call of the check runs"


@pytest.mark.parametrize(
    ("name", "what"), [("ending", "ended its process with exit code 3"), ("hanging", "took longer than 2 seconds")]
)
def test_a_mutant_that_ends_or_holds_up_its_process_is_noticed(name: str, what: str) -> None:
    report = gl.mutate(getattr(layers, name), X, kinds={"double"}, timeout=2.0)
    assert {m.after: (m.check, m.what) for m in report.mutants if "> 3" in m.after} == {
        "if 2 * 2.0 > 3:": ("noticed", f"the check {what}"),
        "if 4 * 1.0 > 3:": ("noticed", f"the check {what}"),
    }


def test_the_file_and_the_backward_are_as_before() -> None:
    path, code = Path(layers.__file__), layers.relu_backward.__code__
    text = path.read_text()
    gl.mutate(layers.relu, X, kinds={"double"})
    assert path.read_text() == text
    assert layers.relu_backward.__code__ is code


@pytest.mark.thorough
def test_a_seed_draws_the_mutants_where_there_are_more_than_asked_for() -> None:
    kinds = {"double", "change-sign", "drop-factor", "return-none"}
    first, again = (gl.mutate(layers.relu, X, kinds=kinds, max_mutants=2, seed=3) for _ in range(2))
    assert [m.diff for m in first.mutants] == [m.diff for m in again.mutants]
    assert (len(first.mutants), first.left_out) == (2, 3)


def test_the_data_goes_through_json() -> None:
    import json

    report = gl.mutate(layers.relu, X, kinds={"double"})
    data = json.loads(json.dumps(report.to_dict()))
    assert gl.MutationReport.from_dict(data) == report
    assert (data["verdict"], data["counted"], data["missed_by_check"]) == ("pass", 1, 0)


def test_data_of_another_form_is_refused() -> None:
    with pytest.raises(gl.InvalidArgument, match=r"^this is no report of mutants of schema 1; pass what to_dict\(\) returned$"):
        gl.MutationReport.from_dict({"schema": 2})


def test_a_survivor_is_shown_as_a_diff_and_the_page_escapes_it() -> None:
    mutant = Mutant(
        "double", "a gradient is doubled", "f", "a.py", 3, "return g", "return 2 * g",
        "--- a.py\n+++ a.py\n@@ -3 +3 @@\n-return g\n+return <2> * g",
        "noticed", "constant-factor", "it is twice", "missed",
    )  # fmt: skip
    report = gl.MutationReport("f", (mutant,), tests="pytest", test="import gradcheck_lab as gl\n")
    assert str(report) == (
        "f: 0 of 1 mutants noticed by your tests\n1 of 1 mutants noticed by check\n\n"
        "your tests would not notice this: a gradient is doubled (double, a.py:3, in f)\n"
        "  @@ -3 +3 @@\n  -return g\n  +return <2> * g\n  check notices it, constant-factor: it is twice\n\n"
        "this test notices what check noticed:\n  import gradcheck_lab as gl"
    )
    assert report.verdict == "fail"
    assert "+return &lt;2&gt; * g" in report.to_html()
    assert repr(report) == "<MutationReport of f: 1 mutants, 1 survive>"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_mutants": 0}, "max_mutants is 0; pass a whole number of at least 1"),
        ({"timeout": None}, "timeout is None; pass a number of seconds above 0"),
        ({"timeout": -1}, "timeout is -1; pass a number of seconds above 0"),
        ({"kinds": "double"}, "kinds is a string; pass a set: kinds={'double'}"),
        ({"kinds": {"triple"}}, "kinds names 'triple', which is unknown; known: add-transpose, change-axis, "),
        ({"tests": 3}, "tests is 3; pass a command such as 'pytest tests/', or a list of its arguments"),
        ({"tests": "pytest 'a"}, "tests is \"pytest 'a\", which is no command (No closing quotation); pass 'pytest tests/'"),
        ({"eps": 1}, "mutate has no argument 'eps'; what the forward takes by keyword goes into options: options={'eps': 1}"),
    ],
)
def test_an_argument_that_does_not_fit(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(gl.InvalidArgument, match=f"^{re.escape(message)}"):
        gl.mutate(layers.relu, X, **arguments)  # type: ignore[arg-type]


def test_a_call_without_inputs_is_refused() -> None:
    message = "mutate was given no inputs; pass its tensors: gl.mutate(relu, x, ...)"
    with pytest.raises(gl.InvalidArgument, match=f"^{re.escape(message)}$"):
        gl.mutate(layers.relu)


def test_a_wrong_backward_is_to_be_mended_first() -> None:
    message = "doubled does not pass the check as it stands (gradient of input 0 'x' is wrong in 2 of 4 elements); mend it"
    with pytest.raises(gl.InvalidArgument, match=f"^{re.escape(message)}"):
        gl.mutate(layers.doubled, X)
