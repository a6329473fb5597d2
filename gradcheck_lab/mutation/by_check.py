"""Whether `check` notices an edited backward, and where it does not, whether there is anything to notice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from gradcheck_lab.check import checked_here
from gradcheck_lab.edits.applied import applied
from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.edits.kinds import MISTAKES
from gradcheck_lab.edits.raising import raising
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.arguments import Wrt
from gradcheck_lab.model.limits import DIFFERING_CALLS, FURTHER_SEEDS
from gradcheck_lab.model.mutants import Mutant, Outcome
from gradcheck_lab.mutation.traces import Trace, Tried, differences, traced
from gradcheck_lab.probes import ALL
from gradcheck_lab.report import Report


@dataclass(frozen=True, slots=True)
class CheckCall:
    """A call of `check` that can be made with several seeds."""

    subject: Any
    inputs: tuple[Any, ...]
    options: Mapping[str, Any] | None
    reference: Any
    order: int
    allow: Collection[str]
    wrt: Wrt | None
    seed: int

    def report(self, seed: int, probes: Collection[str] = ALL) -> Report:
        """The whole check; with no probes the comparison of the call as it is given, which is a part of it."""
        return checked_here(
            self.subject, *self.inputs, options=self.options, reference=self.reference, order=self.order, allow=self.allow,
            wrt=self.wrt, seed=seed, probes=probes,
        )  # fmt: skip

    def compared(self, tried: Tried) -> Report:
        """The comparison of one other call alone."""
        return checked_here(
            self.subject, *tried.inputs[: len(self.inputs)], options=tried.options, reference=self.reference,
            grad_output=tried.upstream, allow=self.allow, wrt=self.wrt, seed=self.seed, probes=(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Original:
    """The backward as it stands: its report, and what it returned in checks with several seeds, the user's first."""

    call: CheckCall
    report: Report
    traces: tuple[tuple[int, Trace], ...]


@dataclass(frozen=True, slots=True)
class Noticed:
    """What came of one mutant: the outcome, the cause, and the sentence that says how it was noticed or why it was not."""

    outcome: Outcome
    cause: str = ""
    what: str = ""


_SAME = Noticed("equivalent", what="the gradients are the same on every call that was tried")
_UNREACHED = Noticed("unreached", what="no call of the check runs this line; pass inputs and options with which it runs")


def mutant_of(edit: Edit, noticed: Noticed, tests: Outcome, by: str) -> Mutant:
    """What came of an edit."""
    sentence = next(kind.sentence for kind in MISTAKES if kind.name == edit.kind)
    return Mutant(
        edit.kind, sentence, edit.function, edit.path, edit.line, edit.before, edit.after, edit.diff, noticed.outcome,
        noticed.cause, noticed.what, tests, by,
    )  # fmt: skip


def original_of(call: CheckCall) -> Original:
    """Check the backward as it stands. Raises `InvalidArgument` unless it passes: no mutant of a wrong one says anything."""
    seeds = range(call.seed, call.seed + 1 + FURTHER_SEEDS.value)
    found = [(seed, *traced(lambda seed=seed: call.report(seed))) for seed in seeds]  # type: ignore[misc]
    report = found[0][1]
    if report.verdict != "pass":
        errors = [finding.message for finding in report.findings if finding.severity == "error"]
        why = errors[0] if errors else report.reasons[0] if report.reasons else report.verdict
        raise InvalidArgument(f"{report.subject} does not pass the check as it stands ({why}); mend it before you mutate it")
    return Original(call, report, tuple((seed, trace) for seed, _, trace in found))


def noticed_by_check(original: Original, edit: Edit, among: Sequence[FunctionType]) -> Noticed:
    """Run the check on the edited backward."""
    try:
        with applied(edit, among):
            found = _noticed(original)
        return found if found != _SAME or _is_run(original, edit, among) else _UNREACHED
    except InvalidArgument as error:
        return Noticed("invalid", what=str(error))


def noticed_by_comparison(call: CheckCall) -> Noticed | None:
    """Whether the comparison of the call as it is given notices the backward as it stands: most mutants are noticed by it."""
    try:
        compared = call.report(call.seed, ())
    except InvalidArgument as error:  # what the backward returns cannot be compared at all
        return Noticed("noticed", "refused", str(error))
    return _found(compared) if compared.verdict == "fail" else None


def _noticed(original: Original) -> Noticed:
    if (found := noticed_by_comparison(original.call)) is not None:
        return found
    different: list[tuple[Tried, Tried]] = []
    for seed, trace in original.traces:
        report, mutated = traced(lambda seed=seed: original.call.report(seed))  # type: ignore[misc]
        if seed == original.call.seed and (found := _found(report)) is not None:
            return found
        different += differences(trace, mutated)
    return _decided(original.call, different)


def _is_run(original: Original, edit: Edit, among: Sequence[FunctionType]) -> bool:
    """Whether the check runs the statement that an edit changes."""
    stop = raising(edit)
    if stop is None:
        return True
    seed, trace = original.traces[0]
    with applied(stop, among):
        for probes in ((), ALL):
            report, stopped = traced(lambda probes=probes: original.call.report(seed, probes))  # type: ignore[misc]
            if report.verdict == "fail" or any(True for _ in differences(trace, stopped)):
                return True
    return False


def _found(report: Report) -> Noticed | None:
    """How a check notices a mutant: by its verdict, as a test does that asserts it; warnings are none of it."""
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if report.verdict == "fail" and errors:
        return Noticed("noticed", errors[0].cause, errors[0].message)
    if report.verdict != "pass":
        return Noticed("noticed", report.verdict, report.reasons[0] if report.reasons else report.verdict)
    return None


def _decided(call: CheckCall, different: Sequence[tuple[Tried, Tried]]) -> Noticed:
    """Whether other gradients than the original's are wrong: at a kink, several are right; of no elements, any."""
    different = [(mine, theirs) for mine, theirs in different if not mine.has_as_much_as(theirs)]
    if not different:
        return _SAME
    if any(mine.lacks_gradient_of(theirs) for mine, theirs in different):
        return Noticed("missed", what="it returns no gradient for an input of which the original has one")
    told = [tried for tried, _ in different if any(bool((grad != 0).any()) for grad in tried.upstream)]
    for tried in told[: DIFFERING_CALLS.value]:
        wrong = _wrong(lambda tried=tried: call.compared(tried))  # type: ignore[misc]
        if wrong:
            return Noticed("missed", what=wrong)
    return Noticed("equivalent", what="its gradients are others, and right as well")


def _wrong(call: Callable[[], Report]) -> str:
    """What is wrong in one call; "" where nothing is."""
    try:
        report = call()
    except InvalidArgument as error:
        return f"it differs from the original, in a call that cannot be checked by itself ({error})"
    errors = [finding.message for finding in report.findings if finding.severity == "error"]
    return errors[0] if report.verdict == "fail" and errors else ""
