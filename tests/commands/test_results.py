"""Where the results of a command go: files by their endings, of several objects one page, and a workflow of GitHub."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gradcheck_lab import Report
from tests.command_line import exit_code

LIBRARY = """
from gradcheck_lab import op, ops
from gradcheck_lab.specs import real

@op(real("n d"))
def double(x):
    return 2 * x

@double.backward
def double_backward(grad_output, output, x):
    return (4 * grad_output,)

@op(real("n d"))
def treble(x):
    return 3 * x

@treble.backward
def treble_backward(grad_output, output, x):
    return (3 * grad_output,)

def undescribed(x):
    return x
"""


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with a module of a wrong op and a right one, in no workflow."""
    (tmp_path / "written.py").write_text(LIBRARY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "written", raising=False)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path


def read(name: str) -> str:
    return Path(name).read_text(encoding="utf-8")


def test_check_of_one_object_writes_each_file_by_its_ending(capsys: pytest.CaptureFixture[str]) -> None:
    files = ("found.html", "found.sarif", "found.json")
    assert exit_code("check", "written:double", *(word for name in files for word in ("--report", name))) == 1
    assert "::" not in capsys.readouterr().out
    assert read("found.html").startswith("<!doctype html>")
    (result,) = json.loads(read("found.sarif"))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "written.py"
    assert Report.from_dict(json.loads(read("found.json"))).verdict == "fail"


@pytest.mark.parametrize(("name", "options"), [("check", ()), ("fuzz", ("--examples", "5"))])
def test_several_objects_are_on_one_page_with_the_failures_first(name: str, options: tuple[str, ...]) -> None:
    assert exit_code(name, "written", "--no-isolate", *options, "--report", "all.html") == 1
    page = read("all.html")
    articles = page.split("<article ")[1:]
    assert [each.partition('class="')[2].partition('"')[0] for each in articles] == ["fail", "pass"]
    assert [">double" in articles[0], ">treble" in articles[1]] == [True, True]
    assert ('class="drawn"' in page) == (name == "fuzz")


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_workflow_is_told(how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    if how == "environment":
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert exit_code("check", "written:double", *(["--github"] if how == "option" else [])) == 1
    (command,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert command.startswith("::error file=written.py,line=11,title=double%3A constant-factor::")
    assert "| constant\\-factor" in read("summary.md")


def test_a_summary_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "absent/summary.md")
    assert exit_code("check", "written:treble", "--github") == 0
    assert capsys.readouterr().err == "the summary of the job could not be written: No such file or directory\n"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("found.txt", "--report is 'found.txt'; name a file that ends in .json, .html or .sarif"),
        ("absent/found.html", "cannot write 'absent/found.html'; name a file in a folder that exists"),
    ],
)
@pytest.mark.parametrize("command", ["check", "fuzz", "replay"])
def test_a_file_that_cannot_be_is_refused_before_the_work(
    command: str, file: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(command, "written:double", "--report", file) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
