"""`Report`: it goes through JSON and comes back the same, whatever numbers it holds."""

import dataclasses
import json
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradcheck_lab as gl
from gradcheck_lab import ops
from gradcheck_lab.model.findings import SCHEMA, Finding, GradientResult, verdict_of
from gradcheck_lab.report import Report
from gradcheck_lab.rules.op import Op
from tests.lanes import examples
from tests.strangers import assert_shown, damaged

numbers = st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False)
words = st.text(max_size=8)
verdicts = st.sampled_from(["pass", "fail", "inconclusive"])
possible = st.builds(
    GradientResult,
    name=words,
    label=words,
    shape=st.lists(st.integers(100, 999), max_size=3).map(tuple),
    dtype=words,
    verdict=verdicts,
    max_abs_error=st.floats(allow_nan=False),
    max_rel_error=st.floats(allow_nan=False),
    actual=st.none() | numbers,
    expected=st.none() | numbers,
    allowed=st.floats(allow_nan=False),
    budget_used=st.floats(max_value=1, allow_nan=False),
    wrong_elements=st.integers(0, 9),
    elements=st.integers(9, 99),
    op=st.none() | words,
    contaminated_by=st.none() | words,
    reason=st.none() | words,
)
gradients = possible.flatmap(
    lambda gradient: st.lists(st.integers(0, 99), min_size=len(gradient.shape), max_size=len(gradient.shape)).map(
        lambda index: dataclasses.replace(gradient, worst_index=tuple(index))
    )
)
findings = st.builds(
    Finding,
    cause=words,
    severity=st.sampled_from(["error", "warning", "note"]),
    message=words,
    gradient=st.none() | words,
    where=words,
    measured=st.none() | st.floats(allow_nan=False),
    allowed=st.none() | st.floats(allow_nan=False),
    traceback=st.none() | words,
)
drawn = st.builds(
    Report,
    verdict=verdicts,
    subject=words,
    kind=words,
    gradients=st.lists(gradients, max_size=3).map(tuple),
    findings=st.lists(findings, max_size=3).map(tuple),
    oracle=words,
    sensitivity=st.dictionaries(words, st.none() | st.floats(allow_nan=False), max_size=3),
    evaluations=st.dictionaries(words, st.integers(0, 9), max_size=2),
    seconds=st.floats(0, 9),
    seed=st.integers(0, 2**32),
    reasons=st.lists(words, max_size=2).map(tuple),
    environment=st.dictionaries(words, words, max_size=2),
)


def of_one_piece(report: Report) -> Report:
    """The report with the verdict that follows from what else it says."""
    reasons = report.reasons or tuple("unsure" for gradient in report.gradients if gradient.verdict == "inconclusive")
    verdict = verdict_of(report.gradients, report.findings, reasons)
    return dataclasses.replace(report, verdict=verdict, reasons=reasons)


reports = drawn.map(of_one_piece)


def through_json(report: Report) -> Report:
    return Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))


def the_gradient(**values: Any) -> Report:
    gradient = GradientResult("x", "input 0 'x'", (2,), "float64", "fail", **values)
    return Report("fail", "op", "op", (gradient,), (), "autograd in float64")


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else []


@given(report=reports)
def test_report_goes_through_json_and_back(report: Report) -> None:
    assert through_json(report) == report


def test_not_a_number_goes_through_json() -> None:
    report = the_gradient(actual=float("nan"), expected=complex(float("nan"), -float("inf")), max_abs_error=float("inf"))
    data = report.to_dict()["gradients"][0]
    assert data["actual"] == {"float": "nan"}
    assert data["expected"] == {"complex": [{"float": "nan"}, {"float": "-inf"}]}
    assert data["max_abs_error"] == {"float": "inf"}
    found = through_json(report).gradients[0]
    assert str((found.actual, found.expected)) == str((report.gradients[0].actual, report.gradients[0].expected))


def test_negative_zero_keeps_its_sign() -> None:
    assert str(through_json(the_gradient(actual=-0.0)).gradients[0].actual) == "-0.0"


@pytest.mark.parametrize("key", ["float", "complex"])
def test_gradient_named_as_a_tag_goes_through_json(key: str) -> None:
    report = dataclasses.replace(the_gradient(), sensitivity={key: 0.5}, environment={key: "1"})
    assert through_json(report) == report


def test_report_of_a_failing_check_goes_through_json_with_its_text() -> None:
    wrong = Op(torch.exp, lambda grad_output, output, x: (grad_output * output / (x - x),), name="wrong")
    report = gl.check(wrong, torch.tensor([[1.0, -2.0]]), probes=())
    assert report.gradients[0].worst_index == (0, 0)
    assert through_json(report) == report
    assert str(through_json(report)) == str(report)


def test_report_of_a_complex_check_goes_through_json() -> None:
    forgot_conj = Op(lambda x: x * x, lambda grad_output, output, x: (2 * x * grad_output,), name="forgot_conj")
    report = gl.check(forgot_conj, torch.tensor([1 + 2j, 3 - 1j]), probes=())
    assert report.verdict == "fail"
    assert isinstance(report.gradients[0].actual, complex)
    assert through_json(report) == report


def test_report_is_pickled() -> None:
    report = gl.check(ops.relu, torch.tensor([1.0, -2.0]), probes=())
    assert pickle.loads(pickle.dumps(report)) == report
    error = gl.GradientMismatch(report)
    assert pickle.loads(pickle.dumps(error)).report == report


def test_report_names_its_schema() -> None:
    assert gl.check(ops.relu, torch.ones(2), probes=()).to_dict()["schema"] == SCHEMA


@pytest.mark.parametrize("schema", [0, SCHEMA + 1, None])
def test_report_of_another_schema_is_refused(schema: Any) -> None:
    data = the_gradient().to_dict() | {"schema": schema}
    with pytest.raises(gl.InvalidArgument) as error:
        Report.from_dict(data)
    assert str(error.value) == (
        f"the report has schema {schema!r} and this version reads schemas 3, 4, 5, 6 and {SCHEMA}; "
        "make it again with this version"
    )


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_anything_but_a_pass_raises(verdict: Any) -> None:
    report = dataclasses.replace(the_gradient(), verdict=verdict)
    with pytest.raises(gl.GradientMismatch) as error:
        report.raise_if_failed()
    assert error.value.report is report


def test_pass_does_not_raise() -> None:
    report = dataclasses.replace(the_gradient(), verdict="pass")
    try:
        report.raise_if_failed()
    except gl.GradientMismatch as error:
        pytest.fail(f"a pass raised {error!r}")


def test_report_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        the_gradient().verdict = "pass"  # type: ignore[misc]


def test_allowed_cause_is_a_note_and_passes() -> None:
    surrogate = Op(torch.sign, lambda grad_output, output, x: (grad_output,), name="straight_through")
    x = torch.tensor([1.0, -2.0], dtype=torch.float64)
    report = gl.check(surrogate, x, probes=())
    assert report.verdict == "fail"
    (cause,) = {finding.cause for finding in report.findings}
    accepted = gl.check(surrogate, x, probes=(), allow={cause})
    assert accepted.verdict == "pass"
    assert {finding.severity for finding in accepted.findings} == {"note"}
    assert [gradient.settled_by for gradient in accepted.gradients] == ["allow"]


def test_another_cause_is_not_allowed_along() -> None:
    wrong = Op(torch.exp, lambda grad_output, output, x: (-grad_output * output,), name="wrong")
    assert gl.check(wrong, torch.tensor([1.0, -2.0]), probes=(), allow={"zero-gradient"}).verdict == "fail"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"verdict": "odd"}, "@ the report.verdict"),
        ({"gradients": [{"name": "x"}]}, "required field missing @ the report.gradients[0].label"),
        ({"gradients": 3}, "the report.gradients is 3 and has to be a list"),
        ({"gradients": "ab"}, "the report.gradients is 'ab' and has to be a list"),
        ({"reasons": "abc"}, "the report.reasons is 'abc' and has to be a list"),
        ({"gradients": [1]}, "the report.gradients[0] is 1 and has to be a table"),
        ({"sensitivity": [["x", 1.0]]}, "the report.sensitivity is a list of 1 and has to be a table"),
        ({"failing_case": [1]}, "the report.failing_case is a list of 1 and has to be a table"),
        ({"failing_case": {"words": nested(40)}}, "nests entries more than 32 deep"),
        ({"seconds": "long"}, "expected float @ the report.seconds"),
        ({"seconds": True}, "expected float @ the report.seconds"),
        ({"seconds": 10**400}, "expected float @ the report.seconds"),
        ({"seconds": {"float": "1_0"}}, "expected float @ the report.seconds"),
        ({"seed": "1"}, "expected int @ the report.seed"),
        ({"seed": True}, "expected int @ the report.seed"),
        ({"subject": 3}, "expected str @ the report.subject"),
        ({"environment": {"a": 1}}, "expected str @ the report.environment['a']"),
        ({"more": 1}, "extra fields found (more) @ the report"),
        ({"\x1b[2J": 1}, r"extra fields found (\x1b[2J) @ the report"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_data_that_are_no_report_are_refused_with_their_place(changed: dict[str, Any], said: str) -> None:
    data = the_gradient().to_dict() | changed
    with pytest.raises(gl.InvalidArgument, match=r"^the report cannot be read: ") as error:
        Report.from_dict(data)
    assert said in str(error.value)


def test_data_of_a_report_are_its_own() -> None:
    report = dataclasses.replace(the_gradient(), failing_case={"inputs": [1.0]}, environment={"torch": "2"})
    report.to_dict()["environment"]["torch"] = "3"
    report.to_dict()["failing_case"]["inputs"].append(2.0)
    assert (report.environment, report.failing_case) == ({"torch": "2"}, {"inputs": [1.0]})


CONTRADICTIONS = {
    "pass-of-a-wrong-gradient": (
        {"verdict": "pass"},
        "its verdict is 'pass', and 'fail' follows from its gradients, findings and reasons",
    ),
    "fail-of-nothing": (
        {"gradients": []},
        "its verdict is 'fail', and 'pass' follows from its gradients, findings and reasons",
    ),
    "inconclusive-of-a-wrong-gradient": (
        {"verdict": "inconclusive", "reasons": ["unsure"]},
        "its verdict is 'inconclusive', and 'fail' follows from its gradients, findings and reasons",
    ),
    "pass-with-an-error": (
        {"verdict": "pass", "gradients": [], "findings": [{"cause": "raises", "severity": "error", "message": "no"}]},
        "its verdict is 'pass', and 'fail' follows from its gradients, findings and reasons",
    ),
    "pass-with-a-reason": (
        {"verdict": "pass", "gradients": [], "reasons": ["unsure"]},
        "its verdict is 'pass', and 'inconclusive' follows from its gradients, findings and reasons",
    ),
    "case-without-words": ({"failing_case": {}}, "its failing case has no text under 'words' or 'python'"),
}
IMPOSSIBLE = {
    "negative-size": ({"shape": [-1]}, "has a negative size"),
    "negative-elements": ({"elements": -1}, "has a negative size"),
    "worst-outside": ({"worst_index": [2]}, "has its worst element at [2], outside of its shape [2]"),
    "worst-of-another-rank": ({"worst_index": [0, 0]}, "has its worst element at [0, 0], outside of its shape [2]"),
    "more-wrong-than-there-are": ({"wrong_elements": 3, "elements": 2}, "has 3 wrong elements of 2"),
    "pass-beyond-the-budget": ({"verdict": "pass", "budget_used": 7.5}, "passes with 7.5 of its budget used"),
}


@pytest.mark.parametrize("name", [*CONTRADICTIONS, *IMPOSSIBLE])
def test_report_that_contradicts_itself_is_refused(name: str) -> None:
    data = the_gradient().to_dict()
    if name in IMPOSSIBLE:
        changed, said = IMPOSSIBLE[name]
        data["gradients"][0] |= changed
        said = f"gradients[0] {said}"
    else:
        changed, said = CONTRADICTIONS[name]
        data |= changed
    with pytest.raises(gl.InvalidArgument) as error:
        Report.from_dict(data)
    assert str(error.value) == f"the report contradicts itself: {said}"


@pytest.mark.parametrize("data", [None, [], "report", 3], ids=str)
def test_what_is_no_table_is_no_report(data: Any) -> None:
    with pytest.raises(gl.InvalidArgument, match=r"^the report is .* and has to be a table, as to_dict returns it$"):
        Report.from_dict(data)


WHOLE = dataclasses.replace(
    gl.check(Op(torch.exp, lambda grad_output, output, x: (2 * grad_output,), name="wrong"), torch.ones(2), probes=()),
    failing_case={"words": "x: float32[2]", "python": "import torch", "options": {"dim": [0, None]}},
).to_dict()


@examples(200)
@given(damaged(WHOLE))
def test_damaged_report_is_refused_or_can_be_shown(data: dict[str, Any]) -> None:
    report = refusal = None
    try:
        report = Report.from_dict(data)
    except gl.InvalidArgument as error:
        refusal = str(error)
    if report is None:
        assert refusal
        assert_shown(refusal)
        assert "\n" not in refusal
    else:
        assert report.verdict == "fail"
        assert_shown(str(report))
        assert_shown(report._repr_html_())
        assert Report.from_dict(report.to_dict()) == report or "nan" in str(report.to_dict())
