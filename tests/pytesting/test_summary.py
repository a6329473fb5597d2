"""The end of a run: the summary, JUnit properties, and runs that have nothing to do with gradients."""

import xml.etree.ElementTree as ElementTree

import pytest

from gradcheck_lab import ops
from gradcheck_lab.check import check
from gradcheck_lab.pytesting.record import OpRecord, merged_by_op
from tests.pytesting.suite import STRIDED, run

pytest_plugins = ["pytester"]

BODY = """
def test_right(gradcheck):
    gradcheck(ops.linear)
    gradcheck(ops.linear)

def test_direct():
    gl.assert_gradients(ops.linear, torch.ones(2, 3), torch.ones(4, 3), torch.ones(4), probes=())

def test_doubled(gradcheck):
    gradcheck(doubled)

def test_again(gradcheck):
    gradcheck(doubled)

def test_strided(gradcheck):
    gradcheck(strided)
"""


def section(result: pytest.RunResult) -> list[str]:
    """The lines of the summary."""
    start = next(i for i, line in enumerate(result.outlines) if set(line.strip("=")) == set(" gradchek"))
    end = next(i for i, line in enumerate(result.outlines) if i > start and line.startswith("==="))
    return result.outlines[start + 1 : end]


def test_one_line_for_each_op_and_findings_by_cause(pytester: pytest.Pytester) -> None:
    lines = section(run(pytester, STRIDED + BODY))
    assert lines[0].split("  ")[0] == "op"
    rows = [line.split() for line in lines[1:4]]
    assert [(row[0], row[1], row[2], row[3]) for row in rows] == [
        ("linear", "pass", "2", "3"),
        ("doubled", "fail", "2", "1"),
        ("strided", "fail", "1", "1"),
    ]
    assert "float64, float32  autograd in float64" in lines[1]
    name = "test_one_line_for_each_op_and_findings_by_cause.py"
    assert lines[4:] == [
        "constant-factor: 1 error",
        f"  doubled: gradient of input 0 'x' is wrong in 6 of 15 elements [{name}::test_doubled and 1 other test]",
        "upstream-layout: 1 error",
        f"  strided: gradient of input 0 'x' differs when grad_output is transposed [{name}::test_strided]",
    ]


def test_junit_has_the_properties_of_every_op(pytester: pytest.Pytester) -> None:
    run(pytester, STRIDED + BODY, "--junit-xml=junit.xml")
    cases = {case.get("name"): case for case in ElementTree.parse(pytester.path / "junit.xml").iter("testcase")}
    found = {each.get("name"): each.get("value") for each in cases["test_right"].iter("property")}
    assert found["gradcheck.linear.verdict"] == "pass"
    assert found["gradcheck.linear.gradients"] == "3"
    assert found["gradcheck.linear.dtypes"] == "float64"
    assert found["gradcheck.linear.oracle"] == "autograd in float64"
    assert float(str(found["gradcheck.linear.budget_used"])) <= 1
    assert float(str(found["gradcheck.linear.sensitivity"])) < 1e-9
    assert found["gradcheck.linear.seed"] == "0"
    failed = {each.get("name"): each.get("value") for each in cases["test_doubled"].iter("property")}
    assert failed["gradcheck.doubled.verdict"] == "fail"
    assert len(list(cases["test_right"].iter("property"))) == len(found)


@pytest.mark.parametrize(
    "body",
    [
        "def test_it():\n    assert 1\n",
        "def test_it():\n    gl.assert_gradients(ops.relu, torch.ones(2), probes=())\n",
        "def test_it():\n    assert gl.check(doubled, torch.ones(2, 2), probes=()).verdict == 'fail'\n",
    ],
    ids=["unrelated", "direct", "report"],
)
def test_run_without_the_plugins_features_looks_as_without_the_plugin(pytester: pytest.Pytester, body: str) -> None:
    with_plugin = run(pytester, body).outlines
    without = run(pytester, body, "-p", "no:gradcheck").outlines
    assert _timeless(with_plugin) == _timeless(without)
    assert not any("gradcheck" in line for line in with_plugin if not line.startswith("plugins:"))


def test_option_shows_what_was_asserted_directly(pytester: pytest.Pytester) -> None:
    body = "def test_it():\n    gl.assert_gradients(ops.relu, torch.ones(2), probes=())\n"
    assert section(run(pytester, body, "--gradcheck-seed=0"))[1].split()[:3] == ["relu", "pass", "1"]


def test_record_of_several_checks_keeps_the_worst_of_each() -> None:
    record = OpRecord("here", "relu", "op")
    x = ops.relu.forward(__import__("torch").linspace(-1, 1, 5).double())
    reports = [check(ops.relu, x, probes=()), check(ops.relu, x.float(), probes=())]
    for report in reports:
        record.add(report)
    assert record.checks == 2
    assert list(record.dtypes) == ["float64", "float32"]
    assert record.sensitivity == max(report.sensitivity["x"] or 0 for report in reports)
    assert record.budget_used == max(report.gradients[0].budget_used for report in reports)
    again = OpRecord.from_dict(record.to_dict())
    assert again == record
    whole = merged_by_op([record, again])
    assert (len(whole), whole[0].checks, whole[0].sensitivity) == (1, 2, record.sensitivity)


def _timeless(lines: list[str]) -> list[str]:
    kept = [line for line in lines if not line.startswith("plugins:")]
    return [line.rpartition(" in ")[0] if line.startswith("===") and " in " in line else line for line in kept]
