"""Multiples of the reference: zero, the wrong sign, a constant factor."""

from __future__ import annotations

import math

import torch

from gradcheck_lab.diagnosis.constants import named_constant, tolerance_of
from gradcheck_lab.diagnosis.deviation import NEGATED, Deviation, multiplied
from gradcheck_lab.diagnosis.evidence import Evidence, Explanation, about
from gradcheck_lab.model.amounts import SHOWN_AS_DIFFERENCE
from gradcheck_lab.model.limits import DIAGNOSED_ELEMENTS
from gradcheck_lab.model.precision import widened
from gradcheck_lab.model.precision.fits import ERROR_BESIDE_FACTOR, NO_FACTOR, REAL_FACTOR


def scaled(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is c times the reference; None where it is no multiple."""
    actual, expected = evidence.actual, evidence.expected
    if actual.shape != expected.shape or not actual.numel():
        return None
    if not bool(actual.any()):
        return Explanation(
            "zero-gradient",
            "it is zero in every element where the reference is not",
            f"return the gradient of {evidence.name!r} instead of zeros, and look for a detach or an overwritten buffer",
            fact=True,
            deviation=Deviation(predict=lambda other: torch.zeros_like(other.expected)),
        )
    if not bool(expected.any()):
        return Explanation(
            "wrong-value",
            f"the forward does not change with {evidence.name!r}: its derivative is 0 in every element",
            "return zeros; where it is meant, as straight-through, pass reference= or allow={'wrong-value'}",
            fact=True,
            deviation=Deviation(predict=_straight_through) if _straight_through(evidence) is not None else None,
        )
    flat, reference = _sample(actual), _sample(expected)
    square = float((reference.conj() * reference).real.sum())
    if square == 0.0 or not math.isfinite(square):
        return None
    factor = (reference.conj() * flat).sum() / square
    if factor.is_complex() and abs(float(factor.imag)) > REAL_FACTOR.value * abs(float(factor.real)):
        return None
    c = float(factor.real)
    if not evidence.fits(reference * c, flat) or abs(c - 1) < NO_FACTOR.value:
        return None
    remainder, error = torch.linalg.vector_norm(flat - c * reference), torch.linalg.vector_norm(flat - reference)
    if float(remainder) > ERROR_BESIDE_FACTOR.value * float(error):
        return None
    if evidence.fits(-reference, flat):
        return Explanation(
            "sign", "it is exactly -1 times the reference", f"negate the gradient of {evidence.name!r}", deviation=NEGATED
        )
    if actual.numel() == 1 and named_constant(evidence, c) is None:
        return None  # one number is a multiple of any other
    return constant_factor(evidence, c)


def constant_factor(evidence: Evidence, c: float, where: str = "") -> Explanation:
    """The explanation of a gradient that is c times the reference, in the elements that `where` names (" in row 2 alone")."""
    size = float(torch.linalg.vector_norm(widened(evidence.actual)))
    # a numeric reference may be known to few digits only
    known_to = max(tolerance_of(evidence), evidence.noise / size if size else 0.0)
    found, claims = named_constant(evidence, c), (about("factor", c, known_to),)
    deviation = None if where else multiplied(c if found is None else found[0], found is None or abs(found[0]) in (2.0, 0.5))
    if found is not None:
        _, what, why, fix = found
        sentence = f"it is {what} the reference{where}" + (f", and {why}" if why else "")
        return Explanation("constant-factor", sentence, f"{fix}{' there' if where else ''}", claims=claims, deviation=deviation)
    number, there = times(c), " there" if where else ""
    sentence = f"it is {number} times the reference{where}"
    fix = f"divide it by {number}{there}: a factor is missing or misplaced"
    return Explanation("constant-factor", sentence, fix, claims=claims, deviation=deviation)


def _straight_through(evidence: Evidence) -> torch.Tensor | None:
    """What passes straight through a forward without a derivative: grad_output, or nothing where it is clipped; else None."""
    for upstream in evidence.upstream:
        if upstream.shape == evidence.actual.shape:
            passed = upstream.to(evidence.expected.dtype)
            clipped = (evidence.actual == 0) & (passed != 0)
            return torch.where(clipped, torch.zeros_like(passed), passed) if not bool(clipped.all()) else None
    return None


def times(c: float) -> str:
    """A factor to six digits; near 1, by how much it is off: `(1 + 2.5e-09)`."""
    off = c - 1
    if 0 < abs(off) < SHOWN_AS_DIFFERENCE.value:
        return f"(1 {'+' if off > 0 else '-'} {abs(off):.2g})"
    return f"{c:.6g}"


def _sample(value: torch.Tensor) -> torch.Tensor:
    step = max(1, value.numel() // DIAGNOSED_ELEMENTS.value)
    return widened(value.reshape(-1)[::step])
