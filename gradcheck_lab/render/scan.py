"""A scanned module or folder as text: what was found, a table of all objects, what was not checked, and a count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gradcheck_lab.model.findings import ReportData
from gradcheck_lab.model.limits import LISTED_NAMES, SHOWN_VALUES, Limit
from gradcheck_lab.model.several import Scan
from gradcheck_lab.render.laid_out import Look, fitted
from gradcheck_lab.render.lines import STYLES, Line
from gradcheck_lab.render.tables import fitted_lines, table_lines
from gradcheck_lab.render.terminal import finding_lines, lines_for

_HEADINGS = ("object", "verdict", "gradients", "inputs", "backward")


def scan_lines(scan: Scan, look: Look | None = None) -> list[Line]:
    """Return every line of the scan, each with its rich style; the whole report only for what did not pass."""
    lines: list[Line] = []
    for report in scan.reports.values():
        if report.verdict != "pass":
            lines += lines_for(report, look)
        elif report.findings:
            lines += fitted(finding_lines(report), look)
    return [*lines, *scan_summary(scan, look)]


def scan_summary(scan: Scan, look: Look | None = None) -> list[Line]:
    """The table of all objects, what was not checked and why, and the count."""
    lines = _table(scan, look)
    rest = [(f"not checked: {name} - {reason}", STYLES["warning"]) for name, reason in scan.skipped.items()]
    if scan.left_out:
        rest.append((f"left out: {_listed(scan.left_out, SHOWN_VALUES)}", STYLES["note"]))
    return [*lines, *fitted([*rest, (f"{scan.module}: {_counted(scan)}", STYLES[scan.verdict])], look)]


def _table(scan: Scan, look: Look | None) -> list[Line]:
    rows = [
        (name, str(report.verdict), _gradients(report), report.inputs or "specs", report.location or "-")
        for name, report in scan.reports.items()
    ]
    rows += [(name, "not checked", "-", "-", "-") for name in scan.skipped]
    styles = ["bold", *(STYLES[report.verdict] for report in scan.reports.values()), *[STYLES["warning"]] * len(scan.skipped)]
    table = [_HEADINGS, *rows]
    texts = table_lines(table) if look is None else fitted_lines(table, look.columns, 2, look.ellipsis)
    return list(zip(texts, styles, strict=True))


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
