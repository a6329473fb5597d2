"""A workflow of GitHub sees what is wrong at its line, and a table in the summary of the job."""

from __future__ import annotations

import json

import pytest

from tests.pytesting.suite import run

pytest_plugins = ["pytester"]

BODY = """
def wrong(grad_output, output, x):
    grad_x = 2 * grad_output  # line of the mistake
    return (grad_x,)

def test_wrong(gradcheck):
    gradcheck(gl.Op(torch.tanh, wrong, name="tanh"), torch.randn(4, 3))
"""


@pytest.mark.parametrize("how", ["option", "environment"])
def test_plugin_tells_a_workflow(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    summary = pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true" if how == "environment" else "false")
    result = run(pytester, BODY, "--gradcheck-report=found.sarif", *(["--gradcheck-github"] if how == "option" else []))
    (command,) = (line for line in result.outlines if line.startswith("::"))
    place, _, text = command.removeprefix("::error file=").partition(",title=")
    file, _, line = place.partition(",line=")
    assert "line of the mistake" in (pytester.path / file).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert text.startswith("tanh%3A missing-factor::")
    assert "| missing\\-factor" in summary.read_text(encoding="utf-8")
    log = json.loads((pytester.path / "found.sarif").read_text(encoding="utf-8"))
    assert len(log["runs"][0]["results"]) == 1


def test_plugin_tells_nobody_elsewhere(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert not [line for line in run(pytester, BODY).outlines if line.startswith("::")]
