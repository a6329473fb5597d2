"""The report of an examined call."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.isolated_rule import call_label, call_names
from gradcheck_lab.diagnosis.allowance import Owner
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.coverage import coverage_of, is_compared, outputs_coverage
from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.examination.steps import steps_of
from gradcheck_lab.model.coverage import coverage_text
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.findings import ALLOWED_ALONE, Finding, GradientResult, verdict_of
from gradcheck_lab.model.limits import PICTURED_CELLS
from gradcheck_lab.model.pictures import within
from gradcheck_lab.model.places import places_of
from gradcheck_lab.report import Report
from gradcheck_lab.subjects.code.blamed import source_of
from gradcheck_lab.subjects.subject import Subject


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked of a check, and when it began."""

    order: int
    allow: Collection[str]
    seed: int
    started: float


def report_of(examined: Examined, asked: Asked) -> Report:
    """The report. Raises `InvalidArgument` where nothing was compared and nothing found."""
    subject, allow = examined.subject, asked.allow
    alone = _allowed_alone(examined, allow)
    coverage = coverage_of(examined, {name for op, name in alone if op is None})
    shown = [c for c in examined.comparisons if is_compared(c) or c.result.reason is not None]
    gradients = tuple(comparison.result for comparison in shown)
    findings = tuple(_placed(_downgraded(finding, allow, alone), examined) for finding in examined.findings)
    reasons = [*examined.reasons, *(g.reason for g in gradients if g.reason)]
    failed = any(f.severity == "error" and f.cause not in allow for f in examined.findings)
    if not reasons and not failed and _compared_nothing(examined, shown):
        what = f"nothing was compared for {subject.name}{coverage_text(coverage)}"
        if not examined.findings:
            raise InvalidArgument(f"{what}; pass inputs with elements that a floating output depends on")
        reasons.append(what)
    gradients = _pictured(gradients)
    if allow:
        gradients = tuple(_accepted(gradient, findings) for gradient in gradients)
    return Report(
        verdict=verdict_of(gradients, findings, reasons),
        subject=subject.name,
        kind=subject.kind,
        gradients=gradients,
        findings=findings,
        oracle=examined.truth.name or f"{subject.oracle} in float64",
        sensitivity={c.result.name: c.sensitivity for c in shown},
        evaluations=examined.runner.evaluations.to_dict(),
        seconds=time.perf_counter() - asked.started,
        seed=asked.seed,
        reasons=tuple(reasons),
        environment=environment(),
        coverage=coverage,
        location=places_of(subject.backwards()),
        steps=steps_of(examined, gradients, findings),
    )


def _pictured(gradients: tuple[GradientResult, ...]) -> tuple[GradientResult, ...]:
    """The gradients with as many pictures as a report holds: of the wrong ones first, and of those nearest to wrong."""
    order = sorted(range(len(gradients)), key=lambda k: -gradients[k].budget_used)
    pictures = within([gradient.picture for gradient in gradients], order, PICTURED_CELLS.value)
    return tuple(replace(gradient, picture=picture) for gradient, picture in zip(gradients, pictures, strict=True))


def begun_report(subject: Subject, asked: Asked) -> Report:
    """What is known of a check before it has compared anything, should it end the process."""
    return Report(
        "inconclusive", subject.name, subject.kind, (), (), "none", seed=asked.seed, reasons=("nothing was compared yet",),
        environment=environment(), location=places_of(subject.backwards()),
    )  # fmt: skip


def _compared_nothing(examined: Examined, shown: Sequence[Comparison]) -> bool:
    if not any(is_compared(comparison) for comparison in shown):
        return True
    return examined.run is not None and not outputs_coverage(examined).compared


def _allowed_alone(examined: Examined, allow: Collection[str]) -> frozenset[Owner]:
    """The gradients, by op and name, that an allowed cause excuses as a whole: it does not say what they are with it."""
    errors = [f for f in examined.findings if f.severity == "error" and f.gradient is not None]
    excused = {(f.op, str(f.gradient)) for f in errors if f.cause in allow}
    others = {(f.op, str(f.gradient)) for f in errors if f.cause not in allow}
    compared = (*examined.comparisons, *examined.alone)
    failed = {(c.result.op, c.result.name) for c in compared if c.result.verdict == "fail"}
    return frozenset(excused & failed - others)


def _downgraded(finding: Finding, allow: Collection[str], alone: Collection[Owner]) -> Finding:
    if finding.cause not in allow:
        return finding
    told = finding.explanation
    if finding.severity == "error" and (finding.op, str(finding.gradient)) in alone:
        told = f"{told}{'; ' if told else ''}nothing of this gradient was compared: the cause does not say what it is then"
    return replace(finding, severity="note", explanation=told)


def _placed(finding: Finding, examined: Examined) -> Finding:
    """An error with the place of the backward that it is about: that of its op in a program, else those of the subject."""
    if finding.severity != "error":
        return finding
    calls = () if examined.run is None else examined.run.calls
    call = next((call for call in calls if finding.op == call_label(call)), None) if finding.op else None
    functions = examined.subject.backwards() if call is None else (call.op.rule,)
    names = examined.subject.names if call is None else call_names(call)
    position = names.index(finding.gradient) if finding.gradient in names else None
    sources = (source_of(function, position, finding.gradient) for function in functions)
    known = [source for source in sources if source is not None]
    source = next((each for each in known if each.blamed), known[0] if known else None)
    return replace(finding, location=places_of(functions), source=source)


def _accepted(gradient: GradientResult, findings: Sequence[Finding]) -> GradientResult:
    own = [finding for finding in findings if finding.gradient == gradient.name and finding.op == gradient.op]
    is_allowed = own or gradient.contaminated_by is not None
    if gradient.verdict == "fail" and is_allowed and not any(finding.severity == "error" for finding in findings):
        return replace(gradient, verdict="pass", settled_by=ALLOWED_ALONE)
    return gradient
