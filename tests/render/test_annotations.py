"""What code hosts are given: SARIF that its schema allows, commands that no text can forge, a table of Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradcheck_lab.render.annotations import markdown_summary, sarif, workflow_commands
from gradcheck_lab.report import Report
from tests.render.browsing import network_report
from tests.render.test_hostile_text import TEXTS, hostile


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_text_forges_no_command_and_no_line(name: str) -> None:
    reports = [(TEXTS[name], hostile(TEXTS[name], "fail"))]
    commands = workflow_commands(reports)
    assert len(commands) == 2  # the error and the warning
    for command, kind in zip(commands, ("error", "warning"), strict=True):
        assert command.startswith(f"::{kind} ")
        assert "\n" not in command
        assert "\r" not in command
        assert command.count("::") >= 2
    assert len(markdown_summary(reports).splitlines()) == 7
    assert json.loads(json.dumps(sarif(reports)))["version"] == "2.1.0"


def test_sarif_says_what_is_wrong_at_the_blamed_line() -> None:
    log = sarif([("network", network_report())])
    (run_of_it,) = log["runs"]
    (result,) = run_of_it["results"]
    assert result["level"] == "error"
    assert run_of_it["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "constant-factor"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("tests/render/browsing.py")
    source = Path(__file__).with_name("browsing.py").read_text(encoding="utf-8").splitlines()
    assert "3 * x * grad_output" in source[place["region"]["startLine"] - 1]


def test_a_run_without_findings_has_an_empty_log() -> None:
    passed = Report("pass", "tanh", "op", (), (), "autograd")
    assert sarif([("test", passed)])["runs"][0]["results"] == []
    assert workflow_commands([("test", passed)]) == []
    assert markdown_summary([("test", passed)]) == "## Gradients\n\n1 pass.\n\n"
