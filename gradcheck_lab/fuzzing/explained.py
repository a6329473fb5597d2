"""A small call hides why a gradient is wrong: the cause is that of the call that was found first, unless this says more."""

from __future__ import annotations

from dataclasses import replace

from gradcheck_lab.examination.one_finding_a_mistake import says_more
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.report import Report

# what a gradient has on calls of such values, sizes or dtypes, or what its message says, is not said of another call
_OF_ONE_CALL = frozenset[str]().union(*map(having, ("at_values", "ties", "size", "dtype", "shape", "no_result", "whole_call")))


def with_causes_of(report: Report, larger: Report, words: str) -> Report:
    """Give each error of a small call the cause that the same gradient has in the report of the call that it was shrunk from.

    It keeps its own where that says more. `words` say which call the larger one is.
    """
    errors = [finding for finding in reversed(larger.findings) if finding.severity == "error"]
    known = {(finding.op, finding.gradient): finding for finding in errors}
    findings = [
        _with_cause_of(finding, known.get((finding.op, finding.gradient)), words) if finding.severity == "error" else finding
        for finding in report.findings
    ]
    return replace(report, findings=tuple(findings))


def _with_cause_of(small: Finding, rich: Finding | None, words: str) -> Finding:
    if rich is None or rich.cause in having("unexplained") or says_more(small.cause, rich.cause):
        return small
    if rich.cause == small.cause and rich.cause not in having("pattern"):  # a number says more where there are several sizes
        return small
    if small.cause not in having("unexplained") and not _OF_ONE_CALL.isdisjoint((small.cause, rich.cause)):
        return small
    return replace(
        small, cause=rich.cause, explanation=f"{rich.explanation}, for {words}", suggestion=rich.suggestion, kept=rich.kept
    )
