"""What the page of a campaign shows: the reports of what did not pass, and as many of the others as it has room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradcheck_lab.campaigns.manifest import Manifest
from gradcheck_lab.campaigns.results import Result, results_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.findings import ReportData
from gradcheck_lab.model.limits import CASES_OF_A_PAGE
from gradcheck_lab.model.tally import Tally
from gradcheck_lab.report import Report


@dataclass(slots=True)
class Page:
    """The counts of a campaign, its reports with their names, those that did not pass first, and how many have no room.

    `cases` has the name, verdict, seconds and reason of each case, as JSON-safe data.
    """

    tally: Tally
    wrong: list[tuple[str, ReportData]] = field(default_factory=list)
    passed: list[tuple[str, ReportData]] = field(default_factory=list)
    left_out: int = 0
    cases: list[dict[str, Any]] = field(default_factory=list)

    @property
    def reports(self) -> list[tuple[str, ReportData]]:
        """The reports that the page has room for."""
        return [*self.wrong, *self.passed]

    @property
    def data(self) -> dict[str, Any]:
        """The counts, and all cases, as JSON-safe data."""
        return {**self.tally.to_dict(), "cases": self.cases}

    def add(self, result: Result) -> None:
        """Add a result; where there is no room, a report of what passed makes way."""
        self.tally.add(result.name, result.verdict, result.seconds, result.reason)
        of_case = {"case": result.key, "name": result.name, "verdict": result.verdict}
        self.cases.append({**of_case, "seconds": result.seconds, "why": result.reason})
        kept = self.passed if result.verdict == "pass" else self.wrong
        if len(self.wrong) + len(self.passed) >= CASES_OF_A_PAGE.value:
            self.left_out += 1
            if kept is self.passed or not self.passed:
                return
            self.passed.pop()
        kept.append((result.name, _report(result)))


def page_of(manifest: Manifest, paths: Sequence[Path]) -> Page:
    """The page of what the files have of the cases of a manifest; they are read once."""
    page = Page(Tally(len(manifest.cases)))
    for result, _ in results_of(manifest.cases, paths):
        page.add(result)
    return page


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
