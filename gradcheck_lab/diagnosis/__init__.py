"""Why a gradient is wrong: one family of explanations a file, asked in order, the first that fits wins."""

from __future__ import annotations

from collections.abc import Callable

from gradcheck_lab.diagnosis.arrangement import misplaced
from gradcheck_lab.diagnosis.axes import misdirected, reversed_axis
from gradcheck_lab.diagnosis.conjugate import unconjugated
from gradcheck_lab.diagnosis.epsilons import epsilon
from gradcheck_lab.diagnosis.evidence import Evidence, Explanation, PartialGradient
from gradcheck_lab.diagnosis.factors import distorted
from gradcheck_lab.diagnosis.fan_out import overwritten
from gradcheck_lab.diagnosis.overlaps import overlapped
from gradcheck_lab.diagnosis.positions import partial, repeated
from gradcheck_lab.diagnosis.precision import imprecise
from gradcheck_lab.diagnosis.scaling import rescaled
from gradcheck_lab.diagnosis.shapes import misshapen, trapped
from gradcheck_lab.diagnosis.terms import incomplete

FAMILIES: tuple[Callable[[Evidence], Explanation | None], ...] = (
    misshapen,
    rescaled,
    unconjugated,
    misplaced,
    epsilon,
    incomplete,
    distorted,
    misdirected,
    repeated,
    overlapped,
    imprecise,
    partial,
    overwritten,
    trapped,
    reversed_axis,
)

_PATTERNS = frozenset(FAMILIES) - {misshapen, rescaled, unconjugated, imprecise}


def explain(evidence: Evidence) -> Explanation:
    """The most specific cause that the evidence supports; `wrong-value` when nothing explains it."""
    for family in FAMILIES:
        found = None if evidence.marginal and family in _PATTERNS else family(evidence)
        if found is not None:
            return found
    return Explanation(
        "wrong-value",
        "no known mistake explains it",
        "derive the rule again for the worst element, or check a smaller input",
    )


__all__ = ["FAMILIES", "Evidence", "Explanation", "PartialGradient", "explain"]
