"""`--gradcheck-save-failures`: a file for each test that failed."""

import json

import pytest
import torch

from gradcheck_lab import Report
from gradcheck_lab.fuzzing.portable import SavedCase
from tests.pytesting.suite import run

pytest_plugins = ["pytester"]


def test_failing_test_leaves_its_report_and_the_message_names_the_file(pytester: pytest.Pytester) -> None:
    body = """
@pytest.mark.parametrize("size", [1, 2])
def test_wrong(gradcheck, size):
    gradcheck(doubled, torch.ones(size, 3))

def test_right(gradcheck):
    gradcheck(ops.relu)
"""
    result = run(pytester, body, "--gradcheck-save-failures=failures")
    result.assert_outcomes(passed=1, failed=2)
    files = sorted((pytester.path / "failures").iterdir())
    saved = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    assert [data["nodeid"].partition("::")[2] for data in saved] == ["test_wrong[1]", "test_wrong[2]"]
    assert {Report.from_dict(data["report"]).verdict for data in saved} == {"fail"}
    result.stdout.fnmatch_lines([f"  saved: {files[0]}"])


def test_fuzzed_failure_leaves_a_case_to_replay(pytester: pytest.Pytester) -> None:
    body = "def test_wrong(gradcheck):\n    gradcheck.fuzz(doubled)\n"
    run(pytester, body, "--gradcheck-save-failures=failures").assert_outcomes(failed=1)
    (path,) = (pytester.path / "failures").iterdir()
    assert SavedCase.from_dict(json.loads(path.read_text(encoding="utf-8"))).subject == "doubled"


def test_inputs_too_large_to_write_out_are_saved_for_the_line_that_loads_them(pytester: pytest.Pytester) -> None:
    body = """
def test_wrong(gradcheck):
    gradcheck(doubled, torch.linspace(-1, 1, 100).reshape(10, 10), probes=())

def test_expected():
    assert gl.check(doubled, torch.ones(10, 10) / 3 + torch.eye(10), probes=()).verdict == "fail"
"""
    result = run(pytester, body, "--gradcheck-save-failures=failures")
    result.assert_outcomes(passed=1, failed=1)
    (path,) = (pytester.path / "failures").glob("*.pt")
    (line,) = {line for line in result.outlines if line.startswith("  reproduce: ")}  # the summary of a CI repeats it
    assert f"saved = torch.load({str(path)!r}, weights_only=True); x = saved['x']" in line
    assert torch.equal(torch.load(path, weights_only=True)["x"], torch.linspace(-1, 1, 100).reshape(10, 10))


def test_nothing_is_written_where_nothing_fails(pytester: pytest.Pytester) -> None:
    run(pytester, "def test_right(gradcheck):\n    gradcheck(ops.relu)\n", "--gradcheck-save-failures=failures")
    assert not (pytester.path / "failures").exists()
