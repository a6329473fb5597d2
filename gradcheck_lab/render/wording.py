"""The sentences and table cells that every renderer shares."""

from __future__ import annotations

from collections.abc import Sequence

from gradcheck_lab.model.causes import having
from gradcheck_lab.model.coverage import coverage_text
from gradcheck_lab.model.findings import ALLOWED, ALLOWED_ALONE, Finding, GradientResult, Number, ReportData
from gradcheck_lab.model.limits import PLACES_NOT_RUN, SHOWN_VALUES
from gradcheck_lab.model.not_run import lines_text, not_run_text, side_text
from gradcheck_lab.model.user_errors import users_frames

HEADINGS = ("gradient", "shape", "dtype", "verdict", "max abs error", "budget used")

_SETTLED = {
    "native": "with what torch's own gradient loses in this dtype",
    "simulated": "with what simulated rounding of the same operations loses",
    "independent": "with what another formula for the same gradient loses",
    "subgradient": "with another subgradient at a kink",
    "directions": "by derivatives along directions",
    ALLOWED: "but for an allowed mistake",
    ALLOWED_ALONE: "since its mistake is allowed; nothing of it was compared",
}


def headline(report: ReportData) -> str:
    """The verdict in one line."""
    count = len(report.gradients)
    gradients = f"{count} gradient{'s' * (count != 1)}"
    if report.verdict == "pass":
        return f"{report.subject}: pass - {gradients} agree{'s' * (count == 1)} with {report.oracle}{_but(report)}"
    if report.verdict == "inconclusive":
        return f"{report.subject}: inconclusive - {'; '.join(report.reasons) or 'no reason given'}"
    return f"{report.subject}: fail - {gradients} compared with {report.oracle}"


def _but(report: ReportData) -> str:
    """The gradients that agree but for an allowed mistake, and those of which it leaves nothing to compare."""
    but = [gradient.name for gradient in report.gradients if gradient.settled_by == ALLOWED]
    alone = [gradient.name for gradient in report.gradients if gradient.settled_by == ALLOWED_ALONE]
    text = f", but for what is allowed of {', '.join(but)}" if but else ""
    return f"{text}; not compared, since it is allowed: {', '.join(alone)}" if alone else text


def what(finding: Finding) -> str:
    """The message of a finding, with the derived call that shows it where that is not the call as given."""
    return finding.message if finding.case == "as given" else f"{finding.message} (case: {finding.case})"


def why(finding: Finding) -> str:
    """The cause of a finding and, where there is one, its explanation."""
    return f"{finding.cause} - {finding.explanation}" if finding.explanation else finding.cause


def place(finding: Finding) -> str:
    """Where the backward stands that a finding is about, and what of it the explanation is about."""
    return f"backward: {', '.join([finding.location, *finding.kept])}"


def traceback(finding: Finding) -> list[str]:
    """The lines of the user's code that an error or warning was raised through, the innermost last; empty where none was."""
    frames = users_frames(finding.traceback) if finding.traceback and finding.severity != "note" else []
    if not frames:
        return []
    return [f"traceback of the {finding.stage or finding.probe}: {frames[0]}", *(f"  {each}" for each in frames[1:])]


def remark(finding: Finding) -> str:
    """A warning or note in one line."""
    fix = f"; {finding.suggestion}" if finding.suggestion else ""
    return f"{finding.severity}: {what(finding)}: {why(finding)}{fix}"


def contaminated(gradients: Sequence[GradientResult]) -> list[str]:
    """One line per culprit: the gradients that are wrong only because of it."""
    names: dict[str, list[str]] = {}
    for gradient in gradients:
        if gradient.contaminated_by is not None:
            names.setdefault(gradient.contaminated_by, []).append(gradient.name)
    return [
        f"wrong only because of {'it' if len(names) == 1 else culprit}: {_some(victims)}"
        for culprit, victims in names.items()
    ]


def _some(names: Sequence[str]) -> str:
    """The first few names, and how many others there are."""
    most = SHOWN_VALUES.value
    others = len(names) - most
    return ", ".join(names) if others <= 1 else f"{', '.join(names[:most])} and {others} others"


def compared(report: ReportData) -> list[str]:
    """Where the inputs are from, and what was compared and what was not, each in one line where it is known."""
    text = coverage_text(report.coverage)
    inputs = [f"inputs: {report.inputs}"] if report.inputs else []
    return [*inputs, f"compared{text}"] if text else inputs


def not_run(report: ReportData) -> str:
    """What of the user's code no call ran, in one line; empty where all of it ran."""
    return not_run_text(report.not_run, PLACES_NOT_RUN.value)


def places_not_run(report: ReportData) -> list[str]:
    """The same with a line for each place, `layers.py:34-37`, which many a terminal opens; of many places the first few."""
    most, found = PLACES_NOT_RUN.value, report.not_run
    lines = [
        f"not run: {each.file}:{each.first}{f'-{each.last}' if each.last > each.first else ''} in {each.function}"
        f"{f', needs {each.needs}' if each.needs else ''}"
        for each in found.lines
    ]
    sides = [f"not run: {each.file}:{each.line} in {each.function}, no element with {each.condition}" for each in found.sides]
    hidden = len(lines) + len(sides) - most
    return [*lines, *sides] if hidden <= 1 else [*[*lines, *sides][:most], f"not run: {hidden} other places"]


def every_not_run(report: ReportData) -> list[str]:
    """The same as a list of everything, a line each."""
    lines = [f"{lines_text(each)}, in {each.function}" for each in report.not_run.lines]
    return [*lines, *(f"{side_text(each)}, in {each.function}" for each in report.not_run.sides)]


def assurance(report: ReportData) -> str:
    """What a pass is worth: the smallest error that would have been caught, the cost, and the seed."""
    known = {name: value for name, value in report.sensitivity.items() if value is not None}
    unknown = [name for name in report.sensitivity if name not in known]
    parts = []
    if known:
        name, value = max(known.items(), key=lambda item: item[1])
        parts.append(f"would have caught a relative error of {value:.2g} in any one element (least: {name})")
    if unknown:
        parts.append(f"cannot say what it would have caught in {', '.join(unknown)}")
    if report.examples:
        parts.append(f"{report.examples} drawn call{'s' * (report.examples != 1)} examined")
    counts = (f"{count} {name}{'s' * (count != 1)}" for name, count in report.evaluations.items())
    return "; ".join([*parts, *counts, f"{report.seconds:.2f} s", f"seed {report.seed}"])


def smallest_call(report: ReportData) -> list[str]:
    """The smallest failing call of a fuzz run: where it was found, what it is, and Python that runs it; empty without one."""
    case = report.failing_case
    if case is None:
        return []
    return [f"{smallest_words(report)}:", *(f"  {line}" for line in str(case["python"]).splitlines())]


def smallest_words(report: ReportData) -> str:
    """Where the failing call of a fuzz run was found, and what it is."""
    words = (report.failing_case or {})["words"]
    if not having("ends_process").isdisjoint(finding.cause for finding in report.findings):
        return f"the call that did it is {words}"
    place = f"drawn call {report.examples}" if report.examples else "a drawn call"
    return f"first seen in {place}; the smallest that shows it is {words}"


def cells(gradient: GradientResult) -> tuple[str, ...]:
    """One gradient as the cells under `HEADINGS`; a gradient that could not be compared shows its reason."""
    compared = gradient.reason is None
    return (
        gradient.label,
        str(gradient.shape),
        gradient.dtype,
        gradient.verdict,
        f"{gradient.max_abs_error:.1e}" if compared else "-",
        f"{gradient.budget_used:.2g}" if compared else str(gradient.reason),
    )


def said(gradient: GradientResult) -> list[str]:
    """What is known of one gradient beside its cells, a line each."""
    if gradient.reason is not None:
        return [gradient.reason]
    lines = []
    if gradient.wrong_elements:
        lines.append(f"{gradient.wrong_elements} of {gradient.elements} elements are wrong")
    if gradient.worst_index is not None:
        at, values = list(gradient.worst_index), f"backward {number(gradient.actual)}, reference {number(gradient.expected)}"
        allowed = f"{gradient.budget_used:.2g} times the {gradient.allowed:.2g} that is allowed"
        lines.append(f"worst at {at}: {values}; off by {allowed}")
    rules = {"slice": "a slice as a whole", "scale": "the scale of the whole gradient", "finite": "what is not finite"}
    if gradient.rule in rules:
        lines.append(f"decided by {rules[gradient.rule]}")
    if gradient.verdict == "pass" and gradient.settled_by in _SETTLED:
        lines.append(f"it passes {_SETTLED[gradient.settled_by]}")
    return lines


def all_causes(report: ReportData) -> list[str]:
    """Every cause that the findings name, each once."""
    return list(dict.fromkeys(finding.cause for finding in report.findings))


def left_out(report: ReportData) -> list[str]:
    """What was not compared, a line for each kind and reason."""
    return [
        f"{count} {each.kind}{'s' * (count != 1)}, {reason}"
        for each in report.coverage
        for reason, count in sorted(each.skipped.items())
    ]


def number(value: Number | None) -> str:
    """A number for a reader: six digits, `-` for none."""
    return "-" if value is None else f"{value:.6g}"
