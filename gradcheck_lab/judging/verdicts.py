"""What makes the verdict on a candidate: a report of a check that fails, and what its answers show by themselves."""

from __future__ import annotations

from dataclasses import replace

from gradcheck_lab.isolation import ended_finding
from gradcheck_lab.judging.connection import Malformed
from gradcheck_lab.judging.remote import CandidateRaised, Remote
from gradcheck_lab.model.causes import CAUSES, having
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.findings import Finding, verdict_of
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.report import Report

_RAISED = CandidateRaised.__name__


class Failed(Exception):
    """The verdict is known; `report` says why."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.verdict)
        self.report = report


def decide(remote: Remote, report: Report | None, doing: str, words: str | None) -> None:
    """Raise `Failed` where a report fails, or the answers show by themselves that they are none."""
    findings = [_finding(e.cause, e.message, e.explanation, words) for e in remote.evidence.values()]
    broken = remote.broken
    if isinstance(broken, Malformed) and not findings:
        findings.append(_finding("tampered", f"{doing} has no answer", str(broken), words))
    elif broken is not None and not isinstance(broken, Malformed):
        findings.append(replace(ended_finding(broken, doing), case=words or doing))
    if not findings and report is None and remote.raised:
        findings.append(_raised(doing, remote.raised[-1], words))
    if not findings and (report is None or report.verdict != "fail"):
        return
    if report is None:
        report = Report("fail", remote.name, remote.form or "file", (), (), "none", environment=environment())
    if broken is not None:  # nothing that came after it says anything
        report = replace(report, findings=(), gradients=())
    errors = [replace(f, case=words) if words and f.case == "as given" else f for f in report.findings]
    errors = [_in_its_words(f, remote.raised[-1]) if f.exception == _RAISED and remote.raised else f for f in errors]
    errors.sort(key=lambda finding: finding.cause not in having("whole_call"))  # what is about the whole call comes first
    raise Failed(replace(report, verdict="fail", findings=(*findings, *errors)))


def without_answer(name: str, why: str, words: str) -> Report:
    """The report of a call that the reference takes and in which nothing came back that could be compared with it."""
    message = f"{name} does not answer with what the reference returns"
    finding = _finding("forward-mismatch", message, why, words)
    return Report("fail", name, "file", (), (finding,), "none", environment=environment())


def without_oracle(report: Report) -> Report:
    """The report without what the reference did on derived calls: no candidate answers for that.

    The reference takes the call as given, so what it raises there comes from outputs that are not like its own.
    """
    findings = tuple(
        _finding("forward-mismatch", "what the forward returns is not like what the reference returns", f.explanation, None)
        if f.stage == "oracle" else f
        for f in report.findings if f.stage != "oracle" or f.probe == "comparison"
    )  # fmt: skip
    return replace(report, findings=findings, verdict=verdict_of(report.gradients, findings, report.reasons))


def _finding(cause: str, message: str, explanation: str, words: str | None) -> Finding:
    return Finding(
        cause, "error", message, explanation=explanation, suggestion=CAUSES[cause].fix, probe="judge", case=words or "as given"
    )


def _raised(doing: str, trace: str, words: str | None) -> Finding:
    last = trace.splitlines()[-1] if trace else "an exception"
    finding = _finding("raises", f"{doing} raised {one_line(last)}", "", words)
    return replace(finding, traceback=trace, exception=last.partition(":")[0])


def _in_its_words(finding: Finding, trace: str) -> Finding:
    """The finding with the exception of the candidate and its own frames, instead of those of this process."""
    last = trace.splitlines()[-1]
    kind = last.partition(":")[0]
    return replace(finding, message=f"{finding.stage} raised {kind}", explanation=last, traceback=trace, exception=kind)
