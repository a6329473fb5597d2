"""`--gradcheck-report`: a file of all that was verified."""

import json

import pytest

from gradcheck_lab import Report
from tests.pytesting.suite import STRIDED, run

pytest_plugins = ["pytester"]

BODY = """
def test_right(gradcheck):
    gradcheck(ops.linear)

def test_wrong(gradcheck):
    gradcheck(doubled)

def test_direct():
    gl.assert_gradients(ops.relu, torch.ones(2), probes=())
"""

CALLS = {"drawn": "gradcheck.fuzz", "called": "gradcheck"}


def test_json_has_every_op_with_its_report(pytester: pytest.Pytester) -> None:
    run(pytester, BODY, "--gradcheck-report=found.json", "--gradcheck-seed=3").assert_outcomes(passed=2, failed=1)
    found = json.loads((pytester.path / "found.json").read_text(encoding="utf-8"))
    assert (found["schema"], found["seed"]) == (1, 3)
    rows = {row["nodeid"].partition("::")[2]: row for row in found["records"]}
    assert {name: (row["op"], row["verdict"]) for name, row in rows.items()} == {
        "test_right": ("linear", "pass"),
        "test_wrong": ("doubled", "fail"),
        "test_direct": ("relu", "pass"),
    }
    report = Report.from_dict(rows["test_wrong"]["report"])
    assert report.findings[0].cause == "constant-factor"
    assert rows["test_right"]["gradients"] == ["x", "weight", "bias"]


def test_html_is_one_page_of_them(pytester: pytest.Pytester) -> None:
    run(pytester, BODY, "--gradcheck-report=found.html")
    page = (pytester.path / "found.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    articles = page.split("<article ")[1:]
    assert len(articles) == 3
    assert '::test_wrong</span>' in articles[0]
    assert [each.partition('class="')[2].partition('"')[0] for each in articles] == ["fail", "pass", "pass"]


def test_reports_of_one_promise_each_contradict_nothing(pytester: pytest.Pytester) -> None:
    body = f"{STRIDED}\n@gl.parametrize_checks([strided, doubled])\ndef test_it(gradcheck, check):\n    gradcheck(check)\n"
    run(pytester, body, "--gradcheck-report=found.json")
    found = json.loads((pytester.path / "found.json").read_text(encoding="utf-8"))
    reports = [Report.from_dict(row["report"]) for row in found["records"]]
    assert {report.verdict for report in reports} == {"pass", "fail"}
    settled = [gradient for report in reports for gradient in report.gradients if gradient.settled_by == "another test"]
    assert settled


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("found.txt", "--gradcheck-report is 'found.txt'; name a file that ends in .json, .html or .sarif"),
        ("nowhere/found.json", "--gradcheck-report: cannot write 'found.json'; name a file in a folder that exists"),
    ],
)
def test_file_that_cannot_be_written_is_refused_before_any_test(pytester: pytest.Pytester, path: str, message: str) -> None:
    result = run(pytester, BODY, f"--gradcheck-report={path}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_page_of_a_suite_shows_what_fuzzing_drew(pytester: pytest.Pytester) -> None:
    body = "".join(f"\ndef test_{name}(gradcheck):\n    {call}(ops.relu)\n" for name, call in CALLS.items())
    run(pytester, body, "--gradcheck-report=found.html", "--gradcheck-examples=5").assert_outcomes(passed=2)
    page = (pytester.path / "found.html").read_text(encoding="utf-8")
    (fuzzed,) = [each for each in page.split("<article ")[1:] if "::test_drawn</span>" in each]
    assert "5 calls drawn; none was wrong" in fuzzed
    assert page.count('class="drawn"') == 1
