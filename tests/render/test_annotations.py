"""What code hosts are given: SARIF that its schema allows, commands that no text can forge, a table of Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gradcheck_lab.model.findings import Finding
from gradcheck_lab.render.annotations import markdown_summary, sarif, workflow_commands
from gradcheck_lab.report import Report
from tests.render.browsing import network_report
from tests.render.test_hostile_text import TEXTS, hostile

SARIF = json.loads((Path(__file__).parent / "sarif" / "sarif-2.1.0-rtm.4.json").read_text(encoding="utf-8"))


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


@pytest.mark.parametrize("name", TEXTS)
def test_sarif_keeps_to_its_schema_whatever_the_texts(name: str) -> None:
    reports = [(TEXTS[name], hostile(TEXTS[name], "fail")), ("network", network_report())]
    jsonschema.validate(json.loads(json.dumps(sarif(reports))), SARIF)


def test_sarif_of_reports_without_a_place_or_a_finding_keeps_to_its_schema() -> None:
    nowhere = Finding("crashed", "error", "the process ended")
    reports = [("a", Report("fail", "a", "op", (), (nowhere,), "none")), ("b", Report("pass", "b", "op", (), (), "none"))]
    for some in (reports, reports[1:], []):
        jsonschema.validate(json.loads(json.dumps(sarif(some))), SARIF)


@pytest.mark.parametrize(
    "breaks",
    [
        lambda log: log.pop("version"),
        lambda log: log["runs"][0]["results"][0].update(level="fatal"),
        lambda log: log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"].update(startLine=0),
        lambda log: log["runs"][0]["tool"]["driver"].pop("name"),
    ],
)
def test_schema_of_sarif_refuses_what_is_none(breaks: Any) -> None:
    log = json.loads(json.dumps(sarif([("network", network_report())])))
    breaks(log)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(log, SARIF)


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
