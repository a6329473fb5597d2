"""A sum or mean inside the backward along the wrong axis, and an axis that it traverses in reverse."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import partial

import torch

from gradcheck_lab.diagnosis.candidates import factors, upstreams
from gradcheck_lab.diagnosis.deviation import Deviation, only_here
from gradcheck_lab.diagnosis.evidence import Claim, Evidence, Explanation
from gradcheck_lab.diagnosis.terms import Residual
from gradcheck_lab.model.precision.fits import SEPARABLE, TWO_AXES


def wrong_inner_axis(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is off by one number per index of one axis and one per index of another; else None."""
    if not evidence.real or evidence.actual.ndim < 2:
        return None
    residual = Residual(evidence)
    for first, second in itertools.combinations(range(evidence.actual.ndim), 2):
        shape = evidence.actual.shape
        coefficients = evidence.actual.numel() // (shape[first] * shape[second]) * (shape[first] + shape[second] - 1)
        if min(shape[first], shape[second]) < 2 or not residual.certain(coefficients):
            continue
        words = f"a number for each place along axis {first} and one for each along axis {second}"
        if _normalised(evidence, (first, second)):
            sentence = f"it is the reference times {words}: normalised along the wrong axis, or by its total"
            return Explanation(
                "wrong-axis",
                sentence,
                f"divide by the sum along axis {first}, or {second}, as the forward does",
                claims=(Claim("normalised"), Claim(words)),
            )
        name = _centred(evidence, residual, (first, second))
        if name is not None:
            times = "" if name == "1" else f"{name} times "
            sentence = f"it is off by {times}{words}: a sum or mean within it is taken along the wrong axis"
            fix = f"take it along axis {first}, or {second}, as the forward does"
            return Explanation("wrong-axis", sentence, fix, claims=(Claim(name), Claim(words)))
    return None


def summed_along_another_axis(evidence: Evidence) -> Explanation | None:
    """Explain a gradient whose sum of a square grad_output, times a tensor, runs over rows for columns; else None."""
    if not evidence.real or evidence.actual.ndim not in (1, 2):
        return None
    residual, rows = Residual(evidence), evidence.actual.shape[0]
    for g in upstreams(evidence) if residual.certain(1) else ():
        if g.value.shape != (rows, rows):
            continue
        off = g.value.sum(0) - g.value.sum(1)
        for name, weight in _weights(evidence):
            basis = weight * off.reshape(-1, *[1] * (evidence.actual.ndim - 1))
            square = float(basis.square().sum())
            c = float((basis * residual.value).sum()) / square if square else 0.0
            if c and residual.explained(c * basis):
                first, second = (0, 1) if c > 0 else (1, 0)
                times = "" if name == "1" else f" times {name}"
                sentence = f"the sum of {g.name} along axis {second}{times} stands where that along axis {first} belongs"
                fix = f"sum {g.name} along axis {first}"
                claims = (Claim(name), Claim(sentence))
                deviation = only_here(evidence, evidence.expected.double() - c * basis)
                return Explanation("wrong-axis", sentence, fix, claims=claims, deviation=deviation)
    return None


def reversed_axis(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is right except that an axis is traversed in reverse; else None."""
    if not evidence.real or evidence.actual.ndim < 1:
        return None
    for axis, candidate in evidence.reversed():
        if evidence.fits(candidate) and not evidence.fits(evidence.expected, candidate):
            place = evidence.actual.ndim + axis
            return Explanation(
                "permuted",
                f"it is the gradient with axis {place} of grad_output and of {evidence.name!r} walked the other way round",
                f"walk axis {place} in the opposite direction: flip a kernel, or start a running sum at its other end",
                claims=(Claim("axis", place, place),),
                deviation=Deviation(predict=partial(_reversed_along, axis), same_sizes=True),
            )
    return None


def _reversed_along(axis: int, evidence: Evidence) -> torch.Tensor | None:
    return next((gradient for found, gradient in evidence.reversed() if found == axis), None)


def _normalised(evidence: Evidence, axes: tuple[int, int]) -> bool:
    """Whether gradient / reference is a product of one factor per index of each of two axes, and of neither axis only."""
    actual, expected = evidence.actual.double(), evidence.expected.double()
    if not bool(((expected != 0) & (actual * expected > 0)).all()):
        return False
    ratio = (actual / expected).log()
    noise = evidence.rounding * math.sqrt(ratio.numel())
    return _separates(ratio, torch.ones_like(ratio), axes, noise)


def _centred(evidence: Evidence, residual: Residual, axes: tuple[int, int]) -> str | None:
    """The tensor that times a sum of one number per index of each of two axes is the residual; None where there is none.

    "1" stands for a tensor of ones.
    """
    for name, weight in _weights(evidence):
        if _separates(residual.value / weight, weight, axes, residual.noise):
            return name
    return None


def _weights(evidence: Evidence) -> Iterator[tuple[str, torch.Tensor]]:
    shape = evidence.actual.shape
    yield "1", torch.ones(shape, dtype=torch.float64, device=evidence.actual.device)
    for term in factors(evidence):
        if term.value.shape == shape and bool((term.value != 0).all()):
            yield term.name, term.value


def _separates(value: torch.Tensor, weight: torch.Tensor, axes: tuple[int, int], noise: float) -> bool:
    one, other = (value.mean(axis, keepdim=True) for axis in axes)
    left = value - one - other + value.mean(axes, keepdim=True)
    apart = [float(torch.linalg.vector_norm((value - mean) * weight)) for mean in (one, other)]
    # the smaller of the parts has to be far above rounding; otherwise one axis explains everything
    return float(torch.linalg.vector_norm(left * weight)) <= SEPARABLE.value * noise and min(apart) > TWO_AXES.value * noise
