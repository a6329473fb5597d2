"""The right values in the wrong place: transposed, permuted, returned for another input, reduced over another axis."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import replace
from functools import partial

import torch

from gradcheck_lab.diagnosis.constants import tolerance_of
from gradcheck_lab.diagnosis.deviation import NEGATED, Deviation, of_input, only_here
from gradcheck_lab.diagnosis.evidence import Claim, Evidence, Explanation
from gradcheck_lab.diagnosis.scaling import constant_factor
from gradcheck_lab.diagnosis.shapes import permuted_axes
from gradcheck_lab.model.limits import ROLLED_PLACES
from gradcheck_lab.model.precision.fits import ENOUGH_ELEMENTS


def rearranged(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that has the values of the reference in other places; else None."""
    if not evidence.small or evidence.actual.numel() < 2:
        return None
    return (
        _swapped(evidence)
        or _expanded(evidence)
        or _transposed(evidence)
        or _wrong_axis(evidence)
        or _permuted(evidence)
        or _unreduced(evidence)
    )


def returned_twice(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is that of another input, which that input has as well, where nothing else explains it."""
    return _of_another(evidence, set(evidence.references)) if evidence.small and evidence.actual.numel() > 1 else None


def _swapped(evidence: Evidence) -> Explanation | None:
    return _of_another(evidence, evidence.references.keys() - evidence.right)


def _of_another(evidence: Evidence, others: Collection[str]) -> Explanation | None:
    for other, reference in evidence.references.items():
        if other not in others:
            continue
        if other != evidence.name and evidence.fits(reference) and not reference.equal(evidence.expected):
            return Explanation(
                "slots-swapped",
                f"it is the gradient of {other!r}: returned in the wrong order",
                "return the gradients in the order of the forward's inputs",
                claims=(Claim(other),),
                deviation=Deviation(predict=of_input(other)),
            )
    return None


def _transposed(evidence: Evidence) -> Explanation | None:
    expected = evidence.expected
    if not 2 <= expected.ndim <= 5:
        return None
    for order in itertools.permutations(range(expected.ndim)):
        c = _multiple(evidence, expected.permute(order)) if order != tuple(range(expected.ndim)) else None
        if c is not None:
            axes = "" if expected.ndim == 2 else f" (axes in the order {order})"
            claims = tuple(Claim("axis", axis, axis) for axis in order)
            found = Explanation(
                "transposed", f"it is the transposed reference{axes}", "transpose it back", claims=claims,
                deviation=Deviation(predict=partial(permuted_axes, order)),
            )  # fmt: skip
            return _and_a_factor(evidence, found, c)
    return None


def _flipped(ndim: int, axis: int, evidence: Evidence) -> torch.Tensor | None:
    return evidence.expected.flip(axis) if evidence.expected.ndim == ndim else None


def _rolled(shift: int, axis: int, evidence: Evidence) -> torch.Tensor | None:
    return evidence.expected.roll(shift, axis)


def _multiple(evidence: Evidence, candidate: torch.Tensor) -> float | None:
    """The factor between the gradient and a rearranged reference; None where it is no multiple of it."""
    actual = evidence.actual
    if candidate.shape != actual.shape or candidate.is_complex() or actual.is_complex():
        return 1.0 if evidence.fits(candidate) else None
    if actual.numel() < ENOUGH_ELEMENTS.value:
        return 1.0 if evidence.fits(candidate) else None
    square = float(candidate.double().square().sum())
    c = float((actual.double() * candidate.double()).sum()) / square if square > 0 else 0.0
    if c == 0.0 or not evidence.fits(c * candidate.double()):
        return None
    return 1.0 if evidence.fits(candidate) else c


def _and_a_factor(evidence: Evidence, found: Explanation, c: float) -> Explanation:
    """The rearrangement, with the factor as a mistake of its own."""
    if c == 1.0:
        return found
    if abs(c + 1) <= tolerance_of(evidence):
        fix = f"negate the gradient of {evidence.name!r}"
        second = Explanation("sign", "beside that it has the other sign", fix, deviation=NEGATED)
    else:
        second = constant_factor(evidence, c, ", beside that")
    return replace(found, also=(second,))


def _permuted(evidence: Evidence) -> Explanation | None:
    expected = evidence.expected
    for axis in range(expected.ndim):
        if expected.shape[axis] < 2:
            continue
        c = _multiple(evidence, expected.flip(axis))
        if c is not None:
            sentence, claims = f"it is the reference reversed along axis {axis}", (Claim("reversed axis", axis, axis),)
            deviation = Deviation(predict=partial(_flipped, expected.ndim, axis))
            found = Explanation("permuted", sentence, f"flip it along axis {axis}", claims=claims, deviation=deviation)
            return _and_a_factor(evidence, found, c)
        for shift in range(1, min(expected.shape[axis], ROLLED_PLACES.value + 1)):
            if evidence.fits(expected.roll(shift, axis)):
                return Explanation(
                    "permuted",
                    f"it is the reference rolled by {shift} along axis {axis}",
                    "undo the shift of the index",
                    claims=(Claim("rolled axis", axis, axis), Claim("shift", shift, shift)),
                    deviation=Deviation(predict=partial(_rolled, shift, axis), same_sizes=True),
                )
    if expected.numel() < 4 or expected.is_complex():
        return None
    if evidence.fits(expected.reshape(-1).sort().values, evidence.actual.reshape(-1).sort().values):
        return Explanation(
            "permuted", "it holds the numbers of the reference in another order", "check the index that writes it"
        )
    return None


def _wrong_axis(evidence: Evidence) -> Explanation | None:
    for grad_output in evidence.upstream:
        for axis in range(grad_output.ndim if grad_output.ndim > 1 else 0):
            candidate = grad_output.to(evidence.expected.dtype).sum(axis)
            if candidate.shape == evidence.actual.shape and evidence.fits(candidate):
                return Explanation(
                    "wrong-axis",
                    f"it equals grad_output reduced over axis {axis}, and the reference does not",
                    f"reduce over another axis than {axis}",
                    claims=(Claim("axis of grad_output", axis, axis),),
                    deviation=only_here(evidence, candidate),
                )
    return None


def _expanded(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is constant along one axis where the reference, that of a reduction, is along another."""
    mine, wanted = _constant_axes(evidence.actual), _constant_axes(evidence.expected)
    if len(mine) != 1 or len(wanted) != 1 or mine == wanted:
        return None
    (got,), (right,) = mine, wanted
    if not evidence.fits(evidence.expected.transpose(got, right)):
        return None
    return Explanation(
        "wrong-axis",
        f"it repeats along axis {got}, and the reference along axis {right}: the reduced axis was restored elsewhere",
        f"restore it with unsqueeze({right}) in the place of unsqueeze({got})",
        claims=(Claim("restored axis", got, got),),
        deviation=only_here(evidence, evidence.expected.transpose(got, right)),
    )


def _constant_axes(value: torch.Tensor) -> tuple[int, ...]:
    axes = [axis for axis in range(value.ndim) if value.shape[axis] > 1]
    return tuple(axis for axis in axes if bool((value.narrow(axis, 0, 1) == value).all()))


def _unreduced(evidence: Evidence) -> Explanation | None:
    """The gradient before the sum over a broadcast, summed over another axis; only where that gives the same shape."""
    shape = tuple(evidence.expected.shape)
    # the broadcast that is undone is that to the first output
    first = evidence.tensors.get("output", evidence.tensors.get("output 0"))
    outputs = [] if first is None or first.ndim != len(shape) + 1 else [first]
    choices = [
        axis for t in outputs for axis in range(t.ndim) if (*t.shape[:axis], *t.shape[axis + 1 :]) == shape
    ]  # fmt: skip
    whole = evidence.unreduced() if len(choices) > 1 else None
    for axis in choices if whole is not None else ():
        assert whole is not None
        candidate = whole.sum(axis)
        if evidence.fits(candidate) and not evidence.fits(candidate, evidence.expected):
            return Explanation(
                "wrong-axis",
                f"it is the right product, summed over axis {axis}: the wrong one",
                f"reduce over another axis than {axis}",
                claims=(Claim("axis of the product", axis, axis),),
                deviation=only_here(evidence, candidate),
            )
    return None
