"""A small call hides why a gradient is wrong: what a larger one said of the same gradient is said of it too."""

from __future__ import annotations

from dataclasses import replace

from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.report import Report


def is_unexplained(finding: Finding) -> bool:
    """Whether a finding is an error that no known mistake explains."""
    return finding.severity == "error" and finding.cause in having("unexplained")


def with_causes_of(report: Report, larger: Report, words: str) -> Report:
    """Give each unexplained error of `report` the cause that the same gradient has in that of a larger call, where it has one.

    `words` say which call that is.
    """
    known = {
        (f.op, f.gradient): f for f in reversed(larger.findings) if f.severity == "error" and not is_unexplained(f)
    }  # fmt: skip
    findings = []
    for finding in report.findings:
        cause = known.get((finding.op, finding.gradient)) if is_unexplained(finding) else None
        if cause is not None:
            finding = replace(
                finding, cause=cause.cause, explanation=f"{cause.explanation}, for {words}", suggestion=cause.suggestion
            )
        findings.append(finding)
    return replace(report, findings=tuple(findings))
