"""Judged candidates as text: a table with the verdict of each, what is wrong in each that failed, and a count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from gradcheck_lab.model.findings import ReportData
from gradcheck_lab.render.laid_out import Look, fitted
from gradcheck_lab.render.lines import STYLES, Line
from gradcheck_lab.render.tables import fitted_lines, table_lines

_HEADINGS = ("candidate", "verdict", "cause", "what")


def judged_lines(reports: Mapping[str, ReportData], look: Look | None = None) -> list[Line]:
    """Return a line for each candidate, with its first error or reason, and the count of verdicts."""
    rows = [(name, report.verdict, *_first(report)) for name, report in reports.items()]
    table = [_HEADINGS, *rows]
    texts = table_lines(table) if look is None else fitted_lines(table, look.columns, 2, look.ellipsis)
    styles = ["bold", *(STYLES[report.verdict] for report in reports.values())]
    verdicts = Counter(report.verdict for report in reports.values())
    counted = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    return [*zip(texts, styles, strict=True), *fitted([(f"{len(reports)} judged: {counted}", "bold")], look)]


def _first(report: ReportData) -> tuple[str, str]:
    error = next((finding for finding in report.findings if finding.severity == "error"), None)
    if error is not None:
        return error.cause, error.message
    return "-", report.reasons[0] if report.reasons else "-"
