"""What a check found, as frozen data: gradients, findings and the verdict that follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.conversion import as_dict, from_dict
from gradcheck_lab.model.coverage import Coverage
from gradcheck_lab.model.drawn import DrawnCalls
from gradcheck_lab.model.not_run import NotRun
from gradcheck_lab.model.pictures import Picture
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.model.source_lines import SourceLines
from gradcheck_lab.model.steps import Step
from gradcheck_lab.model.suggestions import Suggested

SCHEMA = 7
# schema 3 says nothing of what did not run, 4 of what the backward was given, its lines, pictures, steps, 5 of drawn calls,
# 6 of suggestions
READ = (3, 4, 5, 6, SCHEMA)


Verdict = Literal["pass", "fail", "inconclusive"]


Severity = Literal["error", "warning", "note"]


Stage = Literal["", "forward", "backward", "oracle", "engine"]


Number = float | complex

# what settled a gradient that is right but for allowed mistakes, and one of which an allowed cause leaves nothing to compare
ALLOWED, ALLOWED_ALONE = "allow", "allow alone"


@dataclass(frozen=True, slots=True)
class GradientResult:
    """One gradient, compared: of an input, a parameter, or an intermediate.

    Errors and `allowed` are absolute and in the unit of the gradient; `max_rel_error` is the largest |error| / |reference|
    over the elements. `actual`, `expected` and `allowed` are those at `worst_index`, the element that used most
    of its budget; `budget_used` is error / allowed there, over 1 when wrong. Of the call as given, `distribution` counts the
    elements by what they used of their budget, and `picture` has the values, of as many gradients as a page holds.
    """

    name: str
    label: str
    shape: tuple[int, ...]
    dtype: str
    verdict: Verdict
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    worst_index: tuple[int, ...] | None = None
    actual: Number | None = None
    expected: Number | None = None
    allowed: float = 0.0
    budget_used: float = 0.0
    wrong_elements: int = 0
    elements: int = 0
    rule: str = "element"
    settled_by: str = "rounding"
    op: str | None = None
    contaminated_by: str | None = None
    reason: str | None = None
    distribution: tuple[int, ...] = ()
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a comparison or probe found.

    `cause` is a name of `model/causes.py`, `gradient` the name of the gradient that it concerns (None for the whole call),
    `message` says what is wrong and where, `explanation` why, `suggestion` what to do, `case` which call shows it.
    `location` is the file and line of the hand-written backward that an error is about, empty where it is not known, and
    `source` are its lines; `kept` are the saved tensors, attributes or arguments there that the explanation is about, as
    `saved tensor 1 'w'`.
    `measured` and `allowed` are absolute errors, where the finding is about one. Where code raised, `exception` is the name
    of the class and `stage` says whose: the user's forward or backward, the oracle, torch's engine. Messages are for
    people only; programs read the other fields.
    """

    cause: str
    severity: Severity
    message: str
    gradient: str | None = None
    explanation: str = ""
    suggestion: str = ""
    probe: str = "comparison"
    case: str = "as given"
    op: str | None = None
    where: str = ""
    measured: float | None = None
    allowed: float | None = None
    traceback: str | None = None
    stage: Stage = ""
    exception: str | None = None
    location: str = ""
    source: SourceLines | None = None
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportData:
    """The verdict, every comparison and every finding of one check.

    `sensitivity` maps each gradient to the smallest error in a single element that this check would have caught, relative
    to the element or to the gradient's root mean square, whichever is larger; None where nothing could be said.
    `evaluations` counts calls of the user's code, `coverage` what was compared and what was not. `examples` is the number of
    drawn calls that were examined, and `failing_case` the smallest of them that fails, as JSON-safe data, both of `gl.fuzz`.
    `location` is the file and line of the hand-written backward, of several where there are more; `inputs` says where the
    inputs are from, where it was neither the caller nor specs. `not_run` is what of the user's code no call ran,
    `steps` the graph of a program, `drawn` what the calls of `gl.fuzz` had, `suggested` what was found to mend it, where
    that was asked for. `Report` adds the views.
    """

    verdict: Verdict
    subject: str
    kind: str
    gradients: tuple[GradientResult, ...]
    findings: tuple[Finding, ...]
    oracle: str
    sensitivity: dict[str, float | None] = field(default_factory=dict)
    evaluations: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    seed: int = 0
    reproduce: str = ""
    reasons: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    coverage: tuple[Coverage, ...] = ()
    examples: int = 0
    failing_case: dict[str, Any] | None = None
    location: str = ""
    inputs: str = ""
    schema: int = SCHEMA
    not_run: NotRun = field(default_factory=NotRun)
    steps: tuple[Step, ...] = ()
    drawn: DrawnCalls | None = None
    suggested: Suggested | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-safe data; non-finite and complex numbers are tagged, so it round-trips."""
        return as_dict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild a report from `to_dict`.

        Raises `InvalidArgument` when the data were written by a schema that this version does not read, are no report, or say
        something else in their verdict than in their gradients and findings.
        """
        if not isinstance(data, dict):
            raise InvalidArgument(f"the report is {quoted(data)} and has to be a table, as to_dict returns it")
        schema = data.get("schema")
        if isinstance(schema, bool) or schema not in READ:
            known = ", ".join(map(str, READ[:-1]))
            raise InvalidArgument(
                f"the report has schema {quoted(schema)} and this version reads schemas {known} and {SCHEMA}; "
                "make it again with this version"
            )
        report = from_dict({**data, "schema": SCHEMA}, cls, "the report")
        problem = contradiction(report)
        if problem:
            raise InvalidArgument(f"the report contradicts itself: {problem}")
        return report


def verdict_of(gradients: Sequence[GradientResult], findings: Sequence[Finding], reasons: Sequence[str]) -> Verdict:
    """Fail on any error, inconclusive where there is a reason, else pass."""
    if any(finding.severity == "error" for finding in findings):
        return "fail"
    if any(gradient.verdict == "fail" for gradient in gradients):
        return "fail"
    return "inconclusive" if reasons else "pass"


def contradiction(report: ReportData) -> str:
    """What a report says in one place and denies in another; empty where it is of one piece."""
    for index, gradient in enumerate(report.gradients):
        problem = _impossible(gradient)
        if problem:
            return f"gradients[{index}] {problem}"
    following = verdict_of(report.gradients, report.findings, report.reasons)
    if following == "pass" and any(gradient.verdict != "pass" for gradient in report.gradients):
        following = "inconclusive"
    if report.verdict != following:
        return f"its verdict is {report.verdict!r}, and {following!r} follows from its gradients, findings and reasons"
    case = report.failing_case
    if case is not None and not all(isinstance(case.get(name), str) for name in ("words", "python")):
        return "its failing case has no text under 'words' or 'python'"
    return ""


def _impossible(gradient: GradientResult) -> str:
    index = gradient.worst_index
    if any(size < 0 for size in gradient.shape) or gradient.elements < 0 or gradient.wrong_elements < 0:
        return "has a negative size"
    if index is not None and not (
        len(index) == len(gradient.shape) and all(0 <= at < size for at, size in zip(index, gradient.shape, strict=True))
    ):
        return f"has its worst element at {list(index)}, outside of its shape {list(gradient.shape)}"
    parts = 2 if gradient.dtype.startswith("complex") else 1  # both parts of a complex number are compared
    if gradient.wrong_elements > parts * gradient.elements:
        return f"has {gradient.wrong_elements} wrong elements of {gradient.elements}"
    if gradient.verdict == "pass" and gradient.settled_by == "rounding" and gradient.budget_used > 1:
        return f"passes with {gradient.budget_used:.2g} of its budget used"
    return ""
