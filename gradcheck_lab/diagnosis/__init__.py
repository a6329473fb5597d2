"""Why a gradient is wrong: one family of explanations a file. They are tried in order, and the first that fits is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gradcheck_lab.diagnosis.arrangement import rearranged, returned_twice
from gradcheck_lab.diagnosis.axes import reversed_axis, summed_along_another_axis, wrong_inner_axis
from gradcheck_lab.diagnosis.conjugate import missing_conjugate
from gradcheck_lab.diagnosis.epsilons import wrong_epsilon
from gradcheck_lab.diagnosis.evidence import Evidence, Explanation, PartialGradient
from gradcheck_lab.diagnosis.factors import varying_factor
from gradcheck_lab.diagnosis.fan_out import misscaled_use, missing_uses, one_use_for_another
from gradcheck_lab.diagnosis.overlaps import missing_overlap_sum
from gradcheck_lab.diagnosis.positions import repeated_index, wrong_by_label, wrong_by_value, wrong_in_two_places, wrong_places
from gradcheck_lab.diagnosis.precision import low_precision
from gradcheck_lab.diagnosis.products import missing_product, wrong_operand_in_product
from gradcheck_lab.diagnosis.scaling import scaled
from gradcheck_lab.diagnosis.shapes import rank1_broadcast, wrong_shape
from gradcheck_lab.diagnosis.terms import missing_statistic, missing_term
from gradcheck_lab.diagnosis.variations import less_likely_change, one_thing_changed, other_forward

Family = Callable[[Evidence], Explanation | None]

FAMILIES: tuple[Family, ...] = (
    wrong_shape,
    scaled,
    missing_conjugate,
    rearranged,
    other_forward,
    wrong_epsilon,
    misscaled_use,
    one_use_for_another,
    missing_term,
    one_thing_changed,
    wrong_operand_in_product,
    missing_product,
    summed_along_another_axis,
    returned_twice,
    missing_statistic,
    missing_uses,
    less_likely_change,
    varying_factor,
    wrong_inner_axis,
    repeated_index,
    missing_overlap_sum,
    low_precision,
    wrong_by_label,
    wrong_places,
    wrong_by_value,
    wrong_in_two_places,
    rank1_broadcast,
    reversed_axis,
)

# those that look for a pattern in the error, which an error close to rounding has by chance
_PATTERNS = frozenset(FAMILIES) - {wrong_shape, scaled, missing_conjugate, other_forward, low_precision}


def explain(evidence: Evidence) -> Explanation:
    """The most specific cause that the evidence supports, on a second draw of the call too; else `wrong-value`."""
    for family in FAMILIES:
        found = None if evidence.marginal and family in _PATTERNS else _asked(family, evidence)
        if found is not None and (found := _confirmed(found, family, evidence)) is not None:
            return found
    return Explanation(
        "wrong-value",
        "no known mistake explains it",
        "derive the rule again for the worst element, or check a smaller input",
    )


def _asked(family: Family, evidence: Evidence) -> Explanation | None:
    """What a family says; nothing where its arithmetic fails, as a fit to infinite numbers does."""
    try:
        return family(evidence)
    except (RuntimeError, ArithmeticError, ValueError):
        return None


def _confirmed(found: Explanation, family: Family, evidence: Evidence) -> Explanation | None:
    """The explanation as far as the next draw on which the gradient is wrong has it too; None where that has another."""
    if found.fact or evidence.again is None:
        return found
    for draw in evidence.again():
        if draw.actual.equal(draw.expected) or (draw.actual.shape == draw.expected.shape and draw.fits(draw.expected)):
            continue  # right there, which says nothing about why it is wrong here
        again = _asked(family, replace(draw, sought=found))
        if again is None or not again.agrees(found):
            return None
        return replace(found, also=tuple(a for a in found.also if any(a.agrees(b) for b in again.also)))
    return None


__all__ = ["FAMILIES", "Evidence", "Explanation", "PartialGradient", "explain"]
