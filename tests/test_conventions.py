"""Every convention in docs/conventions.md: the code as it stands passes, and the mistake that its comment names is told."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import gradcheck_lab as gl
from gradcheck_lab.subjects.layers.numpy_trace import NumpyTracer
from gradcheck_lab.subjects.untraceable import Untraceable
from tests.lanes import seed_of, thorough

DOCUMENT = Path(__file__).parent.parent / "docs" / "conventions.md"
BLOCK = re.compile(r"^### (?P<title>[^\n]+)\n\n```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
FIRST = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MISTAKE = re.compile(r"^(?P<indent> *).*  # wrong: (?P<wrong>.+) -> (?P<cause>[a-z-]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Convention:
    """One example of the document, with the mistake in one of its lines."""

    title: str
    code: str
    wrong: str | None
    cause: str | None


def conventions() -> list[Convention]:
    text = DOCUMENT.read_text(encoding="utf-8")
    start = found[1] if (found := FIRST.search(text)) else ""
    rows = []
    for block in BLOCK.finditer(text):
        code = start + block["code"]
        mistake = MISTAKE.search(code)
        wrong = mistake and code[: mistake.start()] + mistake["indent"] + mistake["wrong"] + code[mistake.end() :]
        rows.append(Convention(block["title"], code, wrong, mistake and mistake["cause"]))
    return rows


def report_of(code: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> gl.Report:
    """Run the code as a module of its own, whose source can be read."""
    path.write_text(code, encoding="utf-8")
    module = ModuleType(path.stem)
    monkeypatch.setitem(sys.modules, path.stem, module)
    torch.manual_seed(seed_of(0))  # the examples draw as notebooks do
    exec(compile(code, str(path), "exec", dont_inherit=True), module.__dict__)
    report = module.__dict__["report"]
    assert isinstance(report, gl.Report)
    return report


@pytest.fixture
def _without_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numeric derivatives in the place of traces of NumPy code, which take seconds each and have tests of their own."""

    def refuse(*arguments: Any) -> Any:
        raise Untraceable("not traced here")

    if not thorough():
        monkeypatch.setattr(NumpyTracer, "run", refuse)


ROWS = conventions()


def test_most_conventions_have_a_mistake() -> None:
    assert len(ROWS) >= 30
    assert sum(row.wrong is not None for row in ROWS) >= 29


@pytest.mark.usefixtures("_without_traces")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_the_code_as_it_stands_passes(row: Convention, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(row.code, tmp_path / "sound_convention.py", monkeypatch)
    assert report.verdict == "pass", str(report)


@pytest.mark.usefixtures("_without_traces")
@pytest.mark.parametrize("row", [row for row in ROWS if row.wrong], ids=lambda row: row.title)
def test_the_mistake_is_named(row: Convention, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row.wrong is not None
    report = report_of(row.wrong, tmp_path / "wrong_convention.py", monkeypatch)
    assert report.verdict == "fail", str(report)
    assert row.cause in {finding.cause for finding in report.findings if finding.severity == "error"}, str(report)
