"""Some elements are wrong and the others right: which condition separates them, and what the wrong elements hold."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import torch

from gradcheck_lab.diagnosis.conditions import Condition, masks_and_labels, places, repetitions, values
from gradcheck_lab.diagnosis.constants import tolerance_of
from gradcheck_lab.diagnosis.deviation import only_here
from gradcheck_lab.diagnosis.evidence import Evidence, Explanation
from gradcheck_lab.diagnosis.scaling import constant_factor
from gradcheck_lab.model.precision.fits import CLEARLY_WRONG, ENOUGH_ELEMENTS, ORACLE_ERRORS, SELDOM

_ELSE = ", and right everywhere else"


def repeated_index(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is wrong exactly in the rows that an integer input hits more than once; else None."""
    masks = _masks(evidence)
    return None if masks is None else _separated(evidence, *masks, repetitions(evidence))


def wrong_by_label(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is wrong exactly where a mask or an integer of the call has one value; else None."""
    masks = _masks(evidence)
    return None if masks is None else _separated(evidence, *masks, masks_and_labels(evidence))


def wrong_places(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is wrong exactly in a row, a tail, a triangle or another place; else None."""
    masks = _masks(evidence)
    if masks is None:
        return None
    ahead = sum(1 for _ in masks_and_labels(evidence))
    return _separated(evidence, *masks, places(masks[0]), ahead)


def wrong_by_value(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is wrong exactly where the tensors of the call have some values; else None."""
    masks = _masks(evidence)
    if masks is None:
        return None
    ahead = sum(1 for _ in masks_and_labels(evidence)) + sum(1 for _ in places(masks[0]))
    # on a further draw other elements have these values, so that chance has to hit twice
    draws = 2 if evidence.again is not None else 1
    return _separated(evidence, *masks, values(evidence, masks[0], ~masks[0]), ahead, draws)


def wrong_in_two_places(evidence: Evidence) -> Explanation | None:
    """Explain a gradient with two mistakes in two places; else None."""
    masks = _masks(evidence)
    return None if masks is None else _several(evidence, *masks)


def _masks(evidence: Evidence) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The masks of wrong and of right elements; None where some are neither, or where one mask has too few."""
    if not evidence.real or evidence.actual.numel() < ENOUGH_ELEMENTS.value:
        return None
    actual, expected = evidence.actual.double(), evidence.expected.double()
    error = (actual - expected).abs()
    scale = expected.abs() + float(expected.square().mean().sqrt())
    rounding = evidence.rounding * scale + ORACLE_ERRORS.value * evidence.precision
    # elements where both are zero do not count as right: a gradient that is wrong wherever it is not zero is wrong everywhere
    counted = (actual != 0) | (expected != 0)
    wrong, right = (error > CLEARLY_WRONG.value * rounding) & counted, (error <= rounding) & counted
    few = 2 if evidence.sought is None else 1
    if int(wrong.sum()) < few or int(right.sum()) < few or int((wrong | right).sum()) < int(counted.sum()):
        return None
    return wrong, right


def _separated(
    evidence: Evidence,
    wrong: torch.Tensor,
    right: torch.Tensor,
    conditions: Iterable[Condition],
    ahead: int = 0,
    draws: int = 1,
) -> Explanation | None:
    """The first condition that holds in all wrong elements and no other, where chance is no explanation.

    `ahead` conditions were tried before, and it has to hold on so many independent `draws`. On a draw that is to confirm an
    explanation, only its condition is tried.
    """
    count, others = int(wrong.sum()), int(right.sum())
    ways = draws * (math.lgamma(count + others + 1) - math.lgamma(count + 1) - math.lgamma(others + 1))
    known = evidence.sought
    sought = None if known is None else [claim for each in (known, *known.also) for claim in each.claims]
    for rank, condition in enumerate(conditions, ahead + 1):
        if sought is None and ways < math.log(SELDOM.value * rank):
            return None
        if sought is not None and not any(condition.claim.agrees(claim) for claim in sought):
            continue
        # a row is wrong though some of its elements are zero as they should be; where values decide, these are right
        exact = condition.kind in ("value", "tied")
        if torch.equal(condition.mask if exact else condition.mask & (wrong | right), wrong):
            actual, expected = evidence.actual.double(), evidence.expected.double()
            found = _explained(evidence, condition, actual[wrong], expected[wrong])
            return replace(found, deviation=only_here(evidence, torch.where(wrong, actual, expected)))
    return None


def _several(evidence: Evidence, wrong: torch.Tensor, right: torch.Tensor) -> Explanation | None:
    """Two mistakes in two places: wrong elements that are zero or have the other sign, and the other wrong elements."""
    actual, expected = evidence.actual.double(), evidence.expected.double()
    rounding = evidence.rounding * (expected.abs() + float(expected.square().mean().sqrt()))
    for part in ((actual == 0) & wrong, ((actual + expected).abs() <= rounding) & wrong):
        rest = wrong & ~part
        if int(part.sum()) < 2 or int(rest.sum()) < 2:
            continue
        # conditions on values are left out: for elements with one mistake nothing says whether the other would be there too
        first, second = (_separated(evidence, each, right, places(each)) for each in (part, rest))
        if first is not None and second is not None:
            return replace(_beside_another(first), also=(_beside_another(second),))
    return None


def _beside_another(found: Explanation) -> Explanation:
    return replace(found, sentence=found.sentence.replace(_ELSE, "").replace("only the elements", "the elements"))


def _explained(evidence: Evidence, condition: Condition, actual: torch.Tensor, expected: torch.Tensor) -> Explanation:
    found = _named(evidence, condition, actual, expected)
    return replace(found, claims=(condition.claim, *found.claims))


def _named(evidence: Evidence, condition: Condition, actual: torch.Tensor, expected: torch.Tensor) -> Explanation:
    zero = not bool(actual.any())
    should_be_zero = not bool(expected.any())
    what = "it is zero there" if zero else "it should be zero there" if should_be_zero else ""
    words, name = condition.words, evidence.name
    if (condition.kind == "tail" and (zero or _same(actual))) or (condition.kind == "head" and zero):
        filled = "and there they are zero" if zero else f"and there all are {float(actual[0]):.6g}"
        end = "last block" if condition.kind == "tail" else "first"
        return Explanation(
            "unwritten-elements",
            f"only the elements {words} are wrong, {filled}",
            f"write every element of the gradient of {name!r}, the {end} too",
        )
    c = _factor(evidence, actual, expected)
    if c is not None and condition.kind in ("tail", "head", "place", "value"):
        return _multiple(evidence, c, words)
    sentence = f"it is wrong exactly {words}{_ELSE}" + (f": {what}" if what else "")
    if condition.kind == "repeated":
        fix = "add what repeated indices send, as index_add and index_put(accumulate=True) do"
        return Explanation("duplicate-index", sentence, fix)
    if condition.kind == "tied":
        fix = "give one of the tied values the whole gradient, or divide it among them by their number"
        return Explanation("tie-mass", sentence, fix)
    if condition.kind == "option":
        return Explanation("option-specialised", sentence, f"treat the elements {words} as the forward does")
    if condition.kind == "value":
        fix = f"derive the rule again for the elements {words}, or treat them as a case of their own"
        return Explanation("value-dependent", sentence, fix)
    return Explanation("wrong-value", sentence, f"look at the index or loop that writes the elements {words}")


def _multiple(evidence: Evidence, c: float, words: str) -> Explanation:
    where = f" {words}{_ELSE}"
    if abs(c + 1) <= tolerance_of(evidence):
        return Explanation(
            "sign", f"it is exactly -1 times the reference{where}", f"negate the gradient of {evidence.name!r} {words}"
        )
    return constant_factor(evidence, c, where)


def _factor(evidence: Evidence, actual: torch.Tensor, expected: torch.Tensor) -> float | None:
    """The factor between the reference and the wrong elements; None where there is none, or both are zero."""
    square = float(expected.square().sum())
    if square == 0.0 or not bool(actual.any()):
        return None
    c = float((actual * expected).sum()) / square
    return c if evidence.fits(c * expected, actual) else None


def _same(value: torch.Tensor) -> bool:
    """Whether all wrong elements hold one number, as after a fill."""
    return value.numel() > 2 and bool((value == value[0]).all())
