"""What the page of a campaign shows: the reports of what did not pass, and as many of the others as it has room for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gradcheck_lab.campaigns.manifest import Manifest
from gradcheck_lab.campaigns.results import Result, results_in
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.findings import ReportData
from gradcheck_lab.model.limits import CASES_OF_A_PAGE
from gradcheck_lab.model.tally import Tally
from gradcheck_lab.report import Report


def reports_of(manifest: Manifest, paths: Sequence[Path]) -> tuple[list[tuple[str, ReportData]], int]:
    """The reports of the cases, each with its name, those that did not pass first, and how many are left out."""
    wrong: list[tuple[str, ReportData]] = []
    passed: list[tuple[str, ReportData]] = []
    left_out = 0
    for result in _wanted(manifest, paths):
        kept = passed if result.verdict == "pass" else wrong
        if len(wrong) + len(passed) >= CASES_OF_A_PAGE.value and (kept is passed or not passed):
            left_out += 1
            continue
        if len(wrong) + len(passed) >= CASES_OF_A_PAGE.value:
            passed.pop()
            left_out += 1
        kept.append((result.name, _report(result)))
    return [*wrong, *passed], left_out


def data_of(tally: Tally, manifest: Manifest, paths: Sequence[Path]) -> dict[str, Any]:
    """The counts, and of each case its name, verdict, seconds and reason, as JSON-safe data."""
    cases = [
        {"case": result.key, "name": result.name, "verdict": result.verdict, "seconds": result.seconds, "why": result.why}
        for result in _wanted(manifest, paths)
    ]
    return {**tally.to_dict(), "cases": cases}


def _wanted(manifest: Manifest, paths: Sequence[Path]) -> Iterator[Result]:
    keys = {case.key for case in manifest.cases}
    return (result for result, _ in results_in(paths) if result.key in keys)


def _report(result: Result) -> Report:
    """The report of a result; of one that could not be checked, and of a report that cannot be read, one that says why."""
    if result.report is not None:
        try:
            return Report.from_dict(result.report)
        except InvalidArgument as error:
            return _without(result, f"its report cannot be read: {error}")
    return _without(result, f"not checked: {result.why}")


def _without(result: Result, reason: str) -> Report:
    return Report("inconclusive", result.name, "op", (), (), "none", reasons=(reason,))
