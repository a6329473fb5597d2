"""The numbers of one gradient, held against the truth by the budget, by subgradients at kinks and by ever dearer references."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from gradcheck_lab.comparison.allowed import Given, as_on_the_given_call, without_allowed
from gradcheck_lab.comparison.budget import Judgement, certainly_passes, judge
from gradcheck_lab.comparison.compared import Comparison, EvidenceOf, Intervals, References, plain_result, result_of
from gradcheck_lab.comparison.findings import convention, outside_kinks, wrong_finding
from gradcheck_lab.comparison.own_noise import most_noise
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import explain
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import AFFORDABLE_SAMPLES, FEW_ELEMENTS, SAMPLED_WHOLE
from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.model.precision.budget import NOT_ROUNDING, OWN_ROUNDINGS
from gradcheck_lab.oracles.autograd.subgradients import Interval

_CERTAIN = Judgement(True, "element", 0.0, 0.0, None, 0.0, 0.0, 0, 0, 0, None)


def compare_numbers(
    slot: Slot,
    actual: torch.Tensor,
    expected: torch.Tensor,
    references: References,
    evidence: EvidenceOf,
    intervals: Intervals,
    findings: list[Finding],
    first: Judgement | None,
) -> Comparison:
    """Compare numbers of the right shape; `findings` are what is known of the gradient, `first` its `first_judgement`."""
    first = first or first_judgement(actual, expected, slot.dtype, slot.truth_error, slot.margin)
    if first is _CERTAIN:
        return Comparison(plain_result(slot, "pass", elements=expected.numel()), tuple(findings))
    compared_again = partial(compare_numbers, findings=findings, first=None)
    given = Given(slot, actual, expected, references, evidence, intervals, compared_again)
    as_known = None if first.passed else as_on_the_given_call(given)
    if as_known is not None and as_known.result.verdict == "pass":
        return as_known
    used: list[torch.Tensor] = []

    def doubtful(kinks: Interval) -> torch.Tensor:
        forgiving = torch.where(kinks.admits(actual.to(kinks.low)), actual.to(expected.dtype), expected)
        return (actual - forgiving).abs() > NOT_ROUNDING.value * forgiving.abs()

    # all elements of a small gradient; of a large one, for the sake of memory, those that are not right to their last digits
    within = None if first.passed or expected.numel() <= SAMPLED_WHOLE.value else _off(actual, expected, slot)
    # no rounding is that large: a kink would explain it, and a few points beside it tell
    for kinks in intervals(doubtful, within) if _gross(first, expected) else ():
        if not bool(kinks.at.any()):
            break
        admitted, again = _forgiven(slot, actual, expected, kinks, used)
        if again.passed:
            return _conventional(slot, again, actual, expected, admitted, findings)
    found, level, used = judge_by_references(slot, actual, expected, references, first)
    if not found.passed and found.rule != "finite":
        last: tuple[Interval, torch.Tensor, Judgement] | None = None
        for kinks in intervals(doubtful, within):
            admitted, again = _forgiven(slot, actual, expected, kinks, used)
            if again.passed:
                return _conventional(slot, again, actual, expected, admitted, findings)
            last = kinks, admitted, again
            if not bool(kinks.at.any()):
                break
        if last is not None:
            kinks, admitted, again = last
            if bool(admitted.any()):
                found, expected = again, torch.where(admitted, actual.to(expected.dtype), expected)
            outside = outside_kinks(slot, actual, kinks, found)
            if outside is not None:
                return Comparison(result_of(slot, found, actual, expected, "fail", references=used), (*findings, outside))
    if found.elements and found.unjudged == found.elements and found.passed:
        reason = f"the reference for {slot.label} is not finite in any element"
        return Comparison(replace(result_of(slot, found, actual, expected, "inconclusive"), reason=reason), tuple(findings))
    result = result_of(slot, found, actual, expected, "pass" if found.passed else "fail", level, used)
    if not found.passed:
        if as_known is not None:
            return as_known
        explanation = explain(evidence(actual, expected))
        wrong = [wrong_finding(slot, result, found, each, actual) for each in (explanation, *explanation.also)]
        compared = Comparison(result, (*findings, *wrong), found.sensitivity)
        return without_allowed(given, compared, explanation)
    return Comparison(result, tuple(findings), found.sensitivity)


def first_judgement(
    actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype, truth_error: float, margin: float
) -> Judgement:
    """The judgement by what rounding alone allows; on a derived call, at a margin, nobody asks for its numbers."""
    if margin > 1 and certainly_passes(actual, expected, dtype, truth_error, margin):
        return _CERTAIN
    return judge(actual, expected, dtype, truth_error=truth_error, all_blocks=False, margin=margin)


def _off(actual: torch.Tensor, expected: torch.Tensor, slot: Slot) -> torch.Tensor:
    """Which elements differ from the truth by more than their own rounding."""
    return ~((actual.to(expected) - expected).abs_() <= OWN_ROUNDINGS.value * unit_roundoff(slot.dtype) * expected.abs())


def _gross(found: Judgement, expected: torch.Tensor) -> bool:
    """Whether a gradient is off by more than ill-conditioning makes of rounding, as a rule."""
    if found.passed or found.rule == "finite":
        return False
    return found.max_abs_error > NOT_ROUNDING.value * float(torch.nan_to_num(expected.abs()).max())


def _forgiven(
    slot: Slot, actual: torch.Tensor, expected: torch.Tensor, kinks: Interval, used: list[torch.Tensor]
) -> tuple[torch.Tensor, Judgement]:
    """Which elements are subgradients at a kink, and the judgement of the others: at a kink by the distance to its interval.

    The ends of an interval are rounded like any gradient, by the kink's own rule and by the ops around it.
    """
    wide = actual.to(expected.dtype)
    admitted = kinks.admits(actual.to(kinks.low))
    forgiving = torch.where(admitted, wide, expected)
    found = judge(
        actual,
        forgiving,
        slot.dtype,
        [torch.where(admitted, wide, r) for r in used],
        truth_error=slot.truth_error,
        margin=slot.margin,
    )
    if found.passed or not bool((kinks.at & ~admitted).any()):
        return admitted, found
    nearest = torch.where(kinks.at & ~admitted, wide.clamp(kinks.low, kinks.high), forgiving)
    references = [torch.where(kinks.at, nearest, r) for r in used]  # which take sides there, as no rounding does
    beside = judge(actual, nearest, slot.dtype, references, truth_error=slot.truth_error, margin=slot.margin)
    return admitted, beside if beside.passed else found


def _conventional(
    slot: Slot, found: Judgement, actual: torch.Tensor, expected: torch.Tensor, admitted: torch.Tensor, findings: list[Finding]
) -> Comparison:
    forgiving = torch.where(admitted, actual.to(expected.dtype), expected)
    result = result_of(slot, found, actual, forgiving, "pass", "subgradient")
    count = max(1, int(admitted.sum()))
    return Comparison(result, (*findings, convention(slot, count)), found.sensitivity, count)


def judge_by_references(
    slot: Slot, actual: torch.Tensor, expected: torch.Tensor, references: References, first: Judgement | None = None
) -> tuple[Judgement, str, list[torch.Tensor]]:
    """Judge by ever dearer budgets until the gradient passes; returns the last judgement, its level and references."""
    used: list[torch.Tensor] = []
    dtype, off, margin = slot.dtype, slot.truth_error, slot.margin
    found, level = first or judge(actual, expected, dtype, truth_error=off, all_blocks=False, margin=margin), "rounding"
    for level_name in ("native", "simulated", "independent"):
        if found.passed or found.rule == "finite":
            break
        if level_name == "independent" and found.max_abs_error > most_noise(dtype, slot.term):
            break
        more = [r.to(expected.device) for r in references(level_name) if r.shape == expected.shape]
        if more:
            used += more
            found, level = judge(actual, expected, dtype, used, truth_error=off, all_blocks=False, margin=margin), level_name
    if not found.passed and found.rule != "finite" and _has_small_slices(expected.shape):
        further = [*used, *(r.to(expected.device) for r in references("further") if r.shape == expected.shape)]
        # without a margin, and what fails all the same is as far from the budget as the samples of every gradient say
        again = judge(actual, expected, dtype, further, truth_error=off, all_blocks=False)
        if again.passed:
            return again, "simulated", further
    return found if found.passed else judge(actual, expected, dtype, used, truth_error=off, margin=margin), level, used


def _has_small_slices(shape: torch.Size) -> bool:
    """Whether slices have too few elements for the largest of two errors in each to say how large errors are."""
    count = shape.numel()
    smallest = min([count, *(count // n for n in shape if 0 < n < count)])
    return count <= AFFORDABLE_SAMPLES.value and smallest <= FEW_ELEMENTS.value
