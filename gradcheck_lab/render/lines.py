"""Lines of text with their styles, and those of errors, which every form of a report begins with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from gradcheck_lab.model.findings import Finding, ReportData
from gradcheck_lab.render.wording import place, what, why

Line = tuple[str, str]

COPIED = "none"  # the style of a line that is to be copied, and stays whole

STYLES = {
    "pass": "green",
    "fail": "bold red",
    "inconclusive": "bold yellow",
    "warning": "yellow",
    "note": "cyan",
}


def error_lines(report: ReportData, errors: Sequence[Finding]) -> Iterator[Line]:
    """What is wrong, where, why, what to do, and the place of the backward once for those that share it."""
    for finding, following in zip_longest(errors, errors[1:]):
        yield f"{report.subject}: {what(finding)}", STYLES["fail"]
        if finding.where:
            yield f"  {finding.where}", ""
        yield f"  cause: {why(finding)}", ""
        if finding.suggestion:
            yield f"  fix: {finding.suggestion}", ""
        if finding.location and (following is None or place(following) != place(finding)):
            yield f"  {place(finding)}", ""
