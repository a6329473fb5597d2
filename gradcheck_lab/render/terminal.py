"""A report as text: plain for `str(report)`, the same lines with colours on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from gradcheck_lab.model.findings import Finding, GradientResult, ReportData
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.render.tables import table_lines
from gradcheck_lab.render.wording import (
    HEADINGS,
    assurance,
    cells,
    compared,
    contaminated,
    headline,
    not_run,
    place,
    remark,
    smallest_call,
    traceback,
    what,
    why,
)

if TYPE_CHECKING:
    from rich.console import Console

Line = tuple[str, str]

STYLES = {
    "pass": "green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "warning": "yellow",
    "note": "cyan",
}


def render_text(report: ReportData) -> str:
    """Return `report` as plain text, without colours and without a final newline."""
    return "\n".join(one_line(text) for text, _ in report_lines(report))


def print_report(report: ReportData, console: Console | None = None) -> None:
    """Print `report`; colours are left out where rich leaves them out (no terminal, or NO_COLOR set)."""
    print_lines(report_lines(report), console)


def print_lines(lines: Sequence[Line], console: Console | None = None) -> None:
    """Print lines of text with their styles; nothing is wrapped, truncated or read as markup, and no control is sent."""
    from rich.console import Console

    console = console or Console()
    for text, style in lines:
        console.print(one_line(text), style=style or None, markup=False, highlight=False, emoji=False, soft_wrap=True)


def report_lines(report: ReportData) -> list[Line]:
    """Return every line of the report, each with its rich style (empty for none)."""
    lines = [*finding_lines(report), *_table(report.gradients)]
    lines += [(f"  {text}", "dim") for text in (*compared(report), not_run(report)) if text]
    lines += [(f"  {text}", "") for text in smallest_call(report)]
    if report.verdict == "pass":
        lines.append((f"  {assurance(report)}", "dim"))
    return lines


def finding_lines(report: ReportData) -> list[Line]:
    """Return the verdict and its findings: errors, what they contaminate, warnings, notes. No table."""
    errors = [finding for finding in report.findings if finding.severity == "error"]
    lines: list[Line] = []
    if report.verdict != "fail" or not errors:
        lines.append((headline(report), STYLES[report.verdict]))
    for finding, following in zip_longest(errors, errors[1:]):
        lines += _error(report, finding)
        if finding.location and (following is None or place(following) != place(finding)):
            lines.append((f"  {place(finding)}", ""))
    if report.reproduce and report.verdict != "pass":
        lines.append((f"  reproduce: {report.reproduce}", ""))
    lines += [(f"  {text}", "") for finding in report.findings for text in traceback(finding)]
    lines += [(f"  {text}", "") for text in contaminated(report.gradients)]
    for severity in ("warning", "note"):
        remarks = (finding for finding in report.findings if finding.severity == severity)
        lines += [(f"  {remark(finding)}", STYLES[severity]) for finding in remarks]
    return lines


def _error(report: ReportData, finding: Finding) -> Iterator[Line]:
    yield f"{report.subject}: {what(finding)}", STYLES["fail"]
    if finding.where:
        yield f"  {finding.where}", ""
    yield f"  cause: {why(finding)}", ""
    if finding.suggestion:
        yield f"  fix: {finding.suggestion}", ""


def _table(gradients: Sequence[GradientResult]) -> list[Line]:
    if not gradients:
        return []
    styles = ["bold", *("" if gradient.verdict == "pass" else STYLES[gradient.verdict] for gradient in gradients)]
    lines = table_lines([HEADINGS, *map(cells, gradients)])
    return [(f"  {line}", style) for line, style in zip(lines, styles, strict=True)]
