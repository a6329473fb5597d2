"""A wrong gradient of which a cause is allowed: that mistake is taken away, and the rest is compared as ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from gradcheck_lab.comparison.compared import Comparison, EvidenceOf, Intervals, References
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence, Explanation, explain
from gradcheck_lab.diagnosis.allowance import Excuse, sizes_of
from gradcheck_lab.diagnosis.deviation import Deviation, Predicted
from gradcheck_lab.diagnosis.guesses import guesses, seconds
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import ALLOWED, ALLOWED_ALONE, Finding, GradientResult
from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.model.precision.fits import SOUND_ROUNDINGS

Numbers = Callable[[Slot, torch.Tensor, torch.Tensor, References, EvidenceOf, Intervals], Comparison]


@dataclass(frozen=True, slots=True)
class Given:
    """A wrong gradient, the true one, and what its comparison used; `numbers` compares another pair in the same way."""

    slot: Slot
    actual: torch.Tensor
    expected: torch.Tensor
    references: References
    evidence: EvidenceOf
    intervals: Intervals
    numbers: Numbers

    @property
    def nothing(self) -> GradientResult:
        """The result of a gradient of which nothing is compared."""
        slot = self.slot
        dtype = str(slot.dtype).removeprefix("torch.")
        return GradientResult(slot.name, slot.label, slot.shape, dtype, "pass", settled_by=ALLOWED_ALONE, op=slot.op)

    @property
    def seen(self) -> Evidence:
        """What the diagnosis may look at."""
        return self.evidence(self.actual, self.expected)


def without_allowed(given: Given, wrong: Comparison, explanation: Explanation) -> Comparison:
    """The comparison of a gradient with the allowed mistakes taken away; `wrong` as it is where none of them is in it."""
    allowed, slot = given.slot.allowed, given.slot
    if allowed.derived or not allowed.causes:
        return wrong
    if explanation.cause in allowed.causes:
        rest = _without(given, explanation)
        if rest is None:
            return wrong
        return _excused(given, rest, (explanation,)) if _passes(rest) else beyond(rest, slot, explanation.cause)
    if explanation.cause not in having("unexplained"):
        return wrong
    for guess in guesses(given.seen, allowed.causes):
        rest = _without(given, guess)
        if rest is not None and _passes(rest):
            return _excused(given, rest, (guess,))
        if rest is not None and _first_error(rest) not in (None, *having("unexplained")):
            return beyond(rest, slot, guess.cause)
    return _beside_a_simple_mistake(given, wrong) or wrong


def as_on_the_given_call(given: Given) -> Comparison | None:
    """The comparison on a derived call with the mistakes taken away that the given call showed; None where it showed none.

    A gradient of which nothing is known on this call, as of a factor of its sizes, passes.
    """
    known = given.slot.allowed.known(given.slot.op, given.slot.name)
    steps = [each for each in known.told if each.deviation is not None]
    if not steps:
        return None
    same, rest = sizes_of(given.seen) == known.sizes, given
    for step in steps:
        assert step.deviation is not None
        taken = _taken(rest, step.deviation, same)
        if taken is None:
            return Comparison(given.nothing)
        rest = taken
    compared = _compared(replace(rest, slot=replace(rest.slot, allowed=replace(rest.slot.allowed, excused={}))))
    if _passes(compared):
        return _excused(given, compared, tuple(steps))
    return beyond(compared, given.slot, steps[-1].cause)


def _without(given: Given, step: Explanation) -> Comparison | None:
    """The comparison once one mistake is taken away; None where what it makes of the gradient is not known."""
    taken = None if step.deviation is None else _taken(given, step.deviation, True)
    if taken is None:
        return None
    allowed = replace(taken.slot.allowed, causes=taken.slot.allowed.causes - {step.cause})
    return _compared(replace(taken, slot=replace(taken.slot, allowed=allowed)))


def _compared(given: Given) -> Comparison:
    return given.numbers(given.slot, given.actual, given.expected, given.references, given.evidence, given.intervals)


def _taken(given: Given, deviation: Deviation, same_sizes: bool) -> Given | None:
    """What is left to compare with a deviation taken away; None where nothing is known of it on this call."""
    holds = same_sizes or not deviation.same_sizes
    if deviation.undo is not None and holds:
        return _undone(given, deviation.undo)
    predict = deviation.predict if holds else deviation.anew
    predicted = None if predict is None else predict(given.seen)
    if predict is None or predicted is None or predicted.shape != given.expected.shape:
        return None
    shift = predicted.to(given.expected) - given.expected
    known = predict

    def evidence(actual: torch.Tensor, expected: torch.Tensor) -> Evidence:
        found = given.evidence(actual, expected)
        return replace(found, again=_predicted_again(found, known))

    return replace(
        given, expected=given.expected + shift, evidence=evidence, intervals=lambda doubtful, within: (),
        references=lambda level: [reference + shift.to(reference) for reference in given.references(level)],
    )  # fmt: skip


def _predicted_again(found: Evidence, predict: Predicted) -> Callable[[], Iterable[Evidence]] | None:
    """Further draws with the same mistake predicted; None where it can be predicted on none."""
    if found.again is None:
        return None
    draws = [(draw, predict(draw)) for draw in found.again()]
    usable = [replace(draw, expected=p) for draw, p in draws if p is not None and p.shape == draw.actual.shape]
    return (lambda: usable) if usable else None


def _undone(given: Given, undo: Callable[[torch.Tensor], torch.Tensor]) -> Given | None:
    actual = undo(given.actual)
    if actual.shape != given.expected.shape:
        return None
    off = SOUND_ROUNDINGS.value * unit_roundoff(given.slot.dtype)  # of a factor that was read off the gradient

    def again(found: Evidence) -> Iterator[Evidence]:
        for draw in found.again() if found.again is not None else ():
            yield replace(draw, actual=undo(draw.actual))

    def evidence(actual: torch.Tensor, expected: torch.Tensor) -> Evidence:
        found = given.evidence(actual, expected)
        return found if found.again is None else replace(found, again=lambda: again(found))

    return replace(
        given, actual=actual, evidence=evidence,
        references=lambda level: [*given.references(level), given.expected * (1 + off)],
    )  # fmt: skip


def _beside_a_simple_mistake(given: Given, wrong: Comparison) -> Comparison | None:
    """The other way round: with the sign or a factor taken away, an allowed cause may be all that is left."""
    for second in seconds(given.seen):
        assert second.deviation is not None
        taken = _taken(given, second.deviation, True)
        found = None if taken is None else explain(taken.seen)
        if taken is None or found is None or found.cause not in given.slot.allowed.causes or found.cause == second.cause:
            continue
        rest = _without(taken, found)
        if rest is not None and _passes(rest):
            first, *_ = wrong.findings or (None,)
            if first is None:
                return None
            named = replace(first, cause=second.cause, explanation=second.sentence, suggestion=second.suggestion)
            return beyond(replace(wrong, findings=(named,)), given.slot, found.cause)
    return None


def _passes(compared: Comparison) -> bool:
    return compared.result.verdict == "pass"


def _first_error(compared: Comparison) -> str | None:
    return next((finding.cause for finding in compared.findings if finding.severity == "error"), None)


def _excused(given: Given, rest: Comparison, told: tuple[Explanation, ...]) -> Comparison:
    inner = rest.excuse.told if rest.excuse is not None else ()
    return excused(rest, given.slot, Excuse((*told, *inner), sizes_of(given.seen)))


def excused(rest: Comparison, slot: Slot, excuse: Excuse) -> Comparison:
    """The comparison of a gradient that is right but for allowed mistakes, each of which is told."""
    notes = [
        Finding(
            each.cause,
            "note",
            f"gradient of {slot.label} is right but for the allowed {each.cause}",
            gradient=slot.name,
            explanation=each.sentence,
            op=slot.op,
        )
        for each in excuse.told
    ]
    kept = [finding for finding in rest.findings if finding not in notes and finding.severity != "error"]
    result = replace(rest.result, verdict="pass", settled_by=ALLOWED)
    return replace(rest, result=result, findings=(*notes, *(f for f in kept if not _is_told(f, notes))), excuse=excuse)


def _is_told(finding: Finding, notes: list[Finding]) -> bool:
    return any((finding.cause, finding.gradient) == (note.cause, note.gradient) for note in notes)


def beyond(rest: Comparison, slot: Slot, cause: str) -> Comparison:
    """What is wrong with a gradient besides an allowed mistake."""
    text = f", beyond the allowed {cause}"
    findings = [replace(f, message=f"{f.message}{text}") if f.severity == "error" else f for f in rest.findings]
    return replace(rest, findings=tuple(findings))
