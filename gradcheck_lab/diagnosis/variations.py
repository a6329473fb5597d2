"""The gradient is that of the true backward with one thing changed: an operand, a factor left out, the diagonal alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradcheck_lab.diagnosis.deviation import only_here
from gradcheck_lab.diagnosis.evidence import Claim, Evidence, Explanation, Variation, accounts_for
from gradcheck_lab.diagnosis.terms import Residual
from gradcheck_lab.model.precision.fits import CHANCE_DIGITS, ENOUGH_ELEMENTS


def one_thing_changed(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that the true backward gives once one thing in it is changed; else None."""
    if not evidence.real or not is_enough(evidence):
        return None
    return _equal_to(evidence, evidence.variations())


def less_likely_change(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is that of a value within the forward, or has another function's derivative; else None."""
    return _equal_to(evidence, evidence.less_likely()) if evidence.real and is_enough(evidence) else None


def _equal_to(evidence: Evidence, candidates: Iterable[Variation]) -> Explanation | None:
    for each in candidates:
        if each.gradient is None:
            continue
        actual, expected = evidence.actual, evidence.expected
        if each.places is not None:
            actual, expected = (value.reshape(-1)[each.places.to(value.device)] for value in (actual, expected))
        if evidence.fits(each.gradient, actual) and not evidence.fits(each.gradient, expected):
            claims = tuple(Claim(name) for name in each.names)
            return Explanation(
                each.cause, each.sentence, f"{each.suggestion}, in the gradient of {evidence.name!r}", claims=claims,
                deviation=None if each.places is not None else only_here(evidence, each.gradient),
            )  # fmt: skip
    return None


def other_forward(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is exactly that of a forward with another choice, such as an epsilon; else None.

    Nothing is fitted, so that this may be said of an error near rounding as well, where it accounts for all of it.
    """
    if not evidence.real or not is_enough(evidence):
        return None
    for each in evidence.neighbours():
        if each.gradient is not None and accounts_for(evidence, each.gradient):
            deviation = only_here(evidence, each.gradient) if each.exact else None
            claims = tuple(Claim(name) for name in each.names)
            return Explanation(each.cause, each.sentence, each.suggestion, claims=claims, deviation=deviation)
    return None


def is_enough(evidence: Evidence) -> bool:
    """Whether agreement with a gradient that nothing was fitted for is no chance: by its elements, or by their digits."""
    residual, count = Residual(evidence), evidence.actual.numel()
    if count >= ENOUGH_ELEMENTS.value or not 0 < residual.noise < residual.size:
        return count >= ENOUGH_ELEMENTS.value
    return count * math.log10(residual.size / residual.noise) >= CHANCE_DIGITS.value
