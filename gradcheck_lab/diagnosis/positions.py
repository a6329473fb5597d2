"""Some elements wrong and the others right: where exactly, what they hold there, and which condition tells them apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from gradcheck_lab.diagnosis.conditions import Condition, marks, places, repetitions, values
from gradcheck_lab.diagnosis.constants import tolerance_of
from gradcheck_lab.diagnosis.evidence import Evidence, Explanation
from gradcheck_lab.diagnosis.scaling import constant_factor
from gradcheck_lab.model.precision.fits import CLEARLY_WRONG, ENOUGH_ELEMENTS, ORACLE_ERRORS, SELDOM

_ELSE = ", and right everywhere else"


def repeated(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is wrong in the rows alone that an integer input hits more than once; None when it is not."""
    masks = _masks(evidence)
    return None if masks is None else _separated(evidence, *masks, repetitions(evidence))


def partial(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is right but in elements that one condition tells apart; None when none does."""
    masks = _masks(evidence)
    if masks is None:
        return None
    found = _separated(evidence, *masks, _conditions(evidence, *masks))
    return found if found is not None else _several(evidence, *masks)


def _masks(evidence: Evidence) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The wrong elements and the right ones; None where some are neither, or there are too few of one."""
    if not evidence.real or evidence.actual.numel() < ENOUGH_ELEMENTS.value:
        return None
    actual, expected = evidence.actual.double(), evidence.expected.double()
    error = (actual - expected).abs()
    scale = expected.abs() + float(expected.square().mean().sqrt())
    tight = evidence.rounding * scale + ORACLE_ERRORS.value * evidence.precision
    # zero where zero is right tells nothing: a gradient that is wrong wherever it is not zero is just wrong
    told = (actual != 0) | (expected != 0)
    wrong, right = (error > CLEARLY_WRONG.value * tight) & told, (error <= tight) & told
    if int(wrong.sum()) < 2 or int(right.sum()) < 2 or int((wrong | right).sum()) < int(told.sum()):
        return None
    return wrong, right


def _separated(
    evidence: Evidence, wrong: torch.Tensor, right: torch.Tensor, conditions: Iterable[Condition]
) -> Explanation | None:
    """The first condition that holds in the wrong elements and in none of the right ones, where that is no chance."""
    count, others = int(wrong.sum()), int(right.sum())
    ways = math.lgamma(count + others + 1) - math.lgamma(count + 1) - math.lgamma(others + 1)
    for rank, condition in enumerate(conditions, 1):
        if ways < math.log(SELDOM.value * rank):
            return None
        if torch.equal(condition.mask & (wrong | right), wrong):
            return _explained(evidence, condition, evidence.actual.double()[wrong], evidence.expected.double()[wrong])
    return None


def _several(evidence: Evidence, wrong: torch.Tensor, right: torch.Tensor) -> Explanation | None:
    """Two mistakes in two places: the wrong elements that are zero or have the other sign, and the rest, each on its own."""
    actual, expected = evidence.actual.double(), evidence.expected.double()
    tight = evidence.rounding * (expected.abs() + float(expected.square().mean().sqrt()))
    for part in ((actual == 0) & wrong, ((actual + expected).abs() <= tight) & wrong):
        rest = wrong & ~part
        if int(part.sum()) < 2 or int(rest.sum()) < 2:
            continue
        # where one mistake is, nothing says whether the other would have been; values would fit too easily
        first, second = (_separated(evidence, each, right, places(each)) for each in (part, rest))
        if first is not None and second is not None:
            return replace(_beside_another(first), also=(_beside_another(second),))
    return None


def _beside_another(found: Explanation) -> Explanation:
    return replace(found, sentence=found.sentence.replace(_ELSE, "").replace("only the elements", "the elements"))


def _conditions(evidence: Evidence, wrong: torch.Tensor, right: torch.Tensor) -> Iterator[Condition]:
    yield from marks(evidence)
    yield from places(wrong)
    yield from values(evidence, wrong, right)


def _explained(evidence: Evidence, condition: Condition, actual: torch.Tensor, expected: torch.Tensor) -> Explanation:
    zero = not bool(actual.any())
    needless = not bool(expected.any())
    what = "it is zero there" if zero else "it should be zero there" if needless else ""
    words, name = condition.words, evidence.name
    if condition.kind == "tail" and (zero or _same(actual)):
        filled = "and there they are zero" if zero else f"and there all are {float(actual[0]):.6g}"
        return Explanation(
            "unwritten-elements",
            f"only the elements {words} are wrong, {filled}",
            f"write every element of the gradient of {name!r}, the last block too",
        )
    c = _factor(evidence, actual, expected)
    if c is not None and condition.kind in ("tail", "place", "value"):
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
    """The number that the wrong part is of the reference; None where it is none, or nothing tells."""
    square = float(expected.square().sum())
    if square == 0.0 or not bool(actual.any()):
        return None
    c = float((actual * expected).sum()) / square
    return c if evidence.fits(c * expected, actual) else None


def _same(value: torch.Tensor) -> bool:
    """Whether one number stands in every wrong element, as a fill leaves it."""
    return value.numel() > 2 and bool((value == value[0]).all())
