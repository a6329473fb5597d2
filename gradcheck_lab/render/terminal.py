"""A report as text: plain for `str(report)`, the same lines with colours on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradcheck_lab.model.findings import GradientResult, ReportData
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.render.laid_out import Look, fitted, laid_out, look_of
from gradcheck_lab.render.lines import COPIED, STYLES, Line, error_lines
from gradcheck_lab.render.suggested import suggested_lines
from gradcheck_lab.render.tables import table_lines
from gradcheck_lab.render.wording import (
    HEADINGS,
    assurance,
    cells,
    compared,
    contaminated,
    headline,
    not_run,
    remark,
    smallest_call,
    traceback,
)

if TYPE_CHECKING:
    from rich.console import Console

def render_text(report: ReportData) -> str:
    """Return `report` as plain text, without colours and without a final newline."""
    return "\n".join(one_line(text) for text, _ in report_lines(report))


def plain_text(report: ReportData, look: Look | None) -> str:
    """The same lines as `print_report` prints to a terminal of this look, without colours."""
    return "\n".join(one_line(text) for text, _ in lines_for(report, look))


def print_report(report: ReportData, console: Console | None = None) -> None:
    """Print `report`, laid out for a terminal where there is one; colours are left out where rich leaves them out."""
    console = console or new_console()
    print_lines(lines_for(report, look_of(console)), console)


def lines_for(report: ReportData, look: Look | None) -> list[Line]:
    """The lines of a report as a terminal of this look shows them; whole ones where there is none."""
    return report_lines(report) if look is None else laid_out(report, look)


def new_console() -> Console:
    """What prints to standard output."""
    from rich.console import Console

    return Console()


def print_fitted(lines: Sequence[Line], console: Console) -> None:
    """Print lines, in pieces that fit where the console is a terminal."""
    print_lines(fitted(lines, look_of(console)), console)


def print_lines(lines: Sequence[Line], console: Console | None = None) -> None:
    """Print lines of text with their styles; nothing is wrapped, truncated or read as markup, and no control is sent."""
    console = console or new_console()
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
    lines += error_lines(report, errors)
    if report.reproduce and report.verdict != "pass":
        lines.append((f"  reproduce: {report.reproduce}", COPIED))
    lines += suggested_lines(report)
    lines += [(f"  {text}", "") for finding in report.findings for text in traceback(finding)]
    lines += [(f"  {text}", "") for text in contaminated(report.gradients)]
    for severity in ("warning", "note"):
        remarks = (finding for finding in report.findings if finding.severity == severity)
        lines += [(f"  {remark(finding)}", STYLES[severity]) for finding in remarks]
    return lines


def _table(gradients: Sequence[GradientResult]) -> list[Line]:
    if not gradients:
        return []
    styles = ["bold", *("" if gradient.verdict == "pass" else STYLES[gradient.verdict] for gradient in gradients)]
    lines = table_lines([HEADINGS, *map(cells, gradients)])
    return [(f"  {line}", style) for line, style in zip(lines, styles, strict=True)]
