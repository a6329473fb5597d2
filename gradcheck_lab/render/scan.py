"""A scanned module as text: each report, what was not checked and why, and a last line that counts."""

from __future__ import annotations

from collections import Counter

from gradcheck_lab.model.several import Scan
from gradcheck_lab.render.terminal import STYLES, Line, finding_lines, report_lines


def scan_lines(scan: Scan) -> list[Line]:
    """Return every line of the scan, each with its rich style; a table only for what did not pass."""
    lines: list[Line] = []
    for report in scan.reports.values():
        lines += finding_lines(report) if report.verdict == "pass" else report_lines(report)
    lines += [(f"not checked: {name} - {reason}", STYLES["warning"]) for name, reason in scan.skipped.items()]
    verdicts = Counter(report.verdict for report in scan.reports.values())
    counted = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    checked = f"{len(scan.reports)} checked ({counted})" if counted else "nothing could be checked"
    skipped = f"; {len(scan.skipped)} not checked, which --strict makes exit 3" if scan.skipped and counted else ""
    return [*lines, (f"{scan.module}: {checked}{skipped}", STYLES[scan.verdict])]
