"""A scanned module or folder as text: what was found, a table of all objects, what was not checked, and a count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gradcheck_lab.model.findings import ReportData
from gradcheck_lab.model.limits import LISTED_NAMES, SHOWN_VALUES, Limit
from gradcheck_lab.model.several import Scan
from gradcheck_lab.render.tables import table_lines
from gradcheck_lab.render.terminal import STYLES, Line, finding_lines, report_lines

_HEADINGS = ("object", "verdict", "gradients", "inputs", "backward")


def scan_lines(scan: Scan) -> list[Line]:
    """Return every line of the scan, each with its rich style; the whole report only for what did not pass."""
    lines: list[Line] = []
    for report in scan.reports.values():
        if report.verdict != "pass":
            lines += report_lines(report)
        elif report.findings:
            lines += finding_lines(report)
    return [*lines, *scan_summary(scan)]


def scan_summary(scan: Scan) -> list[Line]:
    """The table of all objects, what was not checked and why, and the count."""
    lines = _table(scan)
    lines += [(f"not checked: {name} - {reason}", STYLES["warning"]) for name, reason in scan.skipped.items()]
    if scan.left_out:
        lines.append((f"left out: {_listed(scan.left_out, SHOWN_VALUES)}", STYLES["note"]))
    return [*lines, (f"{scan.module}: {_counted(scan)}", STYLES[scan.verdict])]


def _table(scan: Scan) -> list[Line]:
    rows = [
        (name, str(report.verdict), _gradients(report), report.inputs or "specs", report.location or "-")
        for name, report in scan.reports.items()
    ]
    rows += [(name, "not checked", "-", "-", "-") for name in scan.skipped]
    styles = ["bold", *(STYLES[report.verdict] for report in scan.reports.values()), *[STYLES["warning"]] * len(scan.skipped)]
    return list(zip(table_lines([_HEADINGS, *rows]), styles, strict=True))


def _gradients(report: ReportData) -> str:
    wrong = sum(gradient.verdict == "fail" for gradient in report.gradients)
    return f"{wrong} of {len(report.gradients)} wrong" if wrong else str(len(report.gradients))


def _counted(scan: Scan) -> str:
    verdicts = Counter(report.verdict for report in scan.reports.values())
    counted = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    if not counted:
        return "nothing could be checked"
    checked = f"{len(scan.reports)} checked ({counted})"
    return (
        f"{checked}; not checked: {_listed(list(scan.skipped), LISTED_NAMES)} (--strict makes that exit 3)"
        if scan.skipped
        else checked
    )


def _listed(names: Sequence[str], limit: Limit) -> str:
    most = limit.value
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])
