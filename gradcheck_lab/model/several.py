"""The reports of several objects together: a scanned module, a fuzzed module."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from gradcheck_lab.model.causes import having
from gradcheck_lab.model.drawn import both
from gradcheck_lab.model.findings import ReportData, Verdict
from gradcheck_lab.model.not_run import neither_ran

WORST_FIRST: tuple[Verdict, ...] = ("fail", "inconclusive", "pass")


@dataclass(frozen=True, slots=True)
class Scan:
    """The checks of a module or folder: a report for each object that could be checked, the reason for each that could not.

    A file that could not be imported is one of the latter. `interrupted` says that the user ended it before all were checked.
    Of a folder, `left_out` are the files and folders that were not looked into.
    """

    module: str
    reports: dict[str, ReportData]
    skipped: dict[str, str]
    interrupted: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of the verdicts; inconclusive where nothing was checked, or not all."""
        found = [report.verdict for report in self.reports.values()]
        if self.interrupted:
            found.append("inconclusive")
        return next((verdict for verdict in WORST_FIRST if verdict in found), "inconclusive")

    def to_dict(self) -> dict[str, Any]:
        """The scan as JSON-safe data."""
        return {
            "module": self.module,
            "verdict": self.verdict,
            "reports": {name: report.to_dict() for name, report in self.reports.items()},
            "skipped": self.skipped,
            "left_out": list(self.left_out),
        }


@dataclass
class Fuzzed:
    """What fuzzing found: a report for each object, why others could not be fuzzed, and whether the user interrupted it."""

    target: str
    reports: dict[str, ReportData] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def verdict(self) -> Verdict:
        """The worst of the verdicts; inconclusive where nothing was examined, or not to its end."""
        found = [report.verdict for report in self.reports.values()]
        if self.interrupted or not found:
            found.append("inconclusive")
        return next(verdict for verdict in WORST_FIRST if verdict in found)

    @property
    def examples(self) -> int:
        """How many drawn calls were examined."""
        return sum(report.examples for report in self.reports.values())

    def to_dict(self) -> dict[str, Any]:
        """The run as JSON-safe data."""
        return {
            "target": self.target,
            "verdict": self.verdict,
            "examples": self.examples,
            "reports": {name: report.to_dict() for name, report in self.reports.items()},
            "skipped": self.skipped,
        }

    def add(self, name: str, report: ReportData) -> None:
        """Add the report of one job. Of several jobs on one object the worst report stays, with the examples of all.

        A report of a process that ended is worse than one of a wrong gradient; it gets the errors of the other jobs as well.
        """
        known = self.reports.get(name)
        if known is None:
            self.reports[name] = report
            return
        worst, other = sorted((known, report), key=_rank)
        findings, gradients = worst.findings, worst.gradients
        if _crashed(worst) and not _crashed(other):  # it kept the other from being compared to the end
            findings = (*findings, *(finding for finding in other.findings if finding.severity == "error"))
            gradients = worst.gradients or other.gradients
        self.reports[name] = replace(
            worst, examples=worst.examples + other.examples, findings=findings, gradients=gradients,
            not_run=neither_ran(worst.not_run, other.not_run), drawn=both(worst.drawn, other.drawn),
        )  # fmt: skip


def _rank(report: ReportData) -> tuple[int, bool]:
    return WORST_FIRST.index(report.verdict), not _crashed(report)


def _crashed(report: ReportData) -> bool:
    return not having("ends_process").isdisjoint(finding.cause for finding in report.findings)
