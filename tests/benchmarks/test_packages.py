"""The campaign over published packages: the page's table and figures are those of the stored results, and all is explained."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "packages"
PAGE = (ROOT / "docs" / "found_with_it.md").read_text(encoding="utf-8")


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script `benchmarks/packages/table.py`, which imports the file beside it by its own name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("table")


def test_the_table_of_the_page_is_that_of_the_stored_results(table: ModuleType) -> None:
    lines = table.lines_of(table.stored())
    first = PAGE.splitlines().index(lines[0])
    written = PAGE.splitlines()[first:]
    assert written[: written.index("")] == lines
    assert table.sentence_of(table.stored()) in " ".join(PAGE.split())


def test_every_object_that_does_not_pass_is_explained_and_every_explanation_is_needed(table: ModuleType) -> None:
    found = table.stored()
    assert table.unexplained(found) == []
    failing = {(file, name) for file, of in found.outcomes.items() for name, each in of.items() if each.verdict != "pass"}
    assert failing == table.TRIAGE.keys()


def test_the_results_are_of_every_file_and_of_the_pinned_versions(table: ModuleType) -> None:
    found = table.stored()
    assert {path.stem for path in FOLDER.glob("*_calls.py")} == found.outcomes.keys() == table.PACKAGES.keys()
    ran_with = {text.lower().replace("_", "-") for text in found.versions.values()}
    pinned = (FOLDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    versions = {line.partition("==")[0]: line.replace("==", " ").lower().replace("_", "-") for line in pinned}
    imported = {name for names in table.PACKAGES.values() for name in names} - _run_by_file()
    assert len(imported) > 15
    assert {versions[name] for name in imported} <= ran_with


def _run_by_file() -> set[str]:
    """The packages whose modules are run by their files; no import shows their versions."""
    return {name for path in FOLDER.glob("*_calls.py") for name in re.findall(r'module_at\("(\w+)"', path.read_text())}


def test_an_outcome_that_changes_changes_the_table(table: ModuleType) -> None:
    found = table.stored()
    sound = replace(found.outcomes["timm_calls"]["Swish"], verdict="fail", cause="sign")
    other = replace(found, outcomes={**found.outcomes, "timm_calls": {**found.outcomes["timm_calls"], "Swish": sound}})
    assert table.unexplained(other) == ["open: timm_calls:Swish: fail sign"]
    changed = [(a, b) for a, b in zip(table.lines_of(found), table.lines_of(other), strict=True) if a != b]
    assert len(changed) == 2  # the row of its file, and the last


def test_a_mistake_counts_as_known_only_with_the_cause_that_was_looked_at(table: ModuleType) -> None:
    (file, name), known = next(iter(table.TRIAGE.items()))
    seen = table.Outcome("fail", known.causes[0], 1.0)
    assert table.kind_of(file, name, seen) == known.kind
    assert table.kind_of(file, name, replace(seen, cause="crashed")) == "open"


def test_results_are_read_by_case_and_a_line_that_was_cut_off_is_none(table: ModuleType, tmp_path: Path) -> None:
    manifest, file = tmp_path / "packages.jsonl", "benchmarks/packages/timm_calls.py"
    entries: list[dict[str, Any]] = [
        {"campaign": 1, "versions": {"timm": "timm 1.0.31"}, "files": {}},
        {"case": "1", "target": f"{file}:right"},
        {"case": "2", "target": f"{file}:wrong"},
    ]
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    findings = [{"severity": "note", "cause": "convention"}, {"severity": "error", "cause": "sign"}]
    results = [
        {"case": "2", "verdict": "fail", "seconds": 2.04, "report": {"findings": findings}},
        {"case": "of another plan", "verdict": "fail", "seconds": 1.0, "report": None},
        {"case": "1", "verdict": "pass", "seconds": 1.0, "report": {"findings": findings[:1]}},
    ]
    text = "".join(json.dumps(result) + "\n" for result in results)
    (tmp_path / "packages.results.jsonl").write_text(text + '{"case": "1", "verd')
    found = table.found_in(manifest)
    outcomes = {"right": table.Outcome("pass", "", 1.0), "wrong": table.Outcome("fail", "sign", 2.0)}
    assert found.outcomes == {"timm_calls": outcomes}
    table.store(found, tmp_path / "found.json")
    assert table.stored(tmp_path / "found.json") == found
