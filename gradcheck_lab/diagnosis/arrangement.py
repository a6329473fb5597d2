"""The right numbers in the wrong place: transposed, permuted, in another input's slot, reduced over another axis."""

from __future__ import annotations

import itertools

from gradcheck_lab.diagnosis.evidence import Evidence, Explanation


def misplaced(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that holds the reference's numbers elsewhere; None when it does not."""
    if not evidence.small or evidence.actual.numel() < 2:
        return None
    return _swapped(evidence) or _transposed(evidence) or _wrong_axis(evidence) or _permuted(evidence)


def _swapped(evidence: Evidence) -> Explanation | None:
    for other, reference in evidence.references.items():
        if other != evidence.name and evidence.fits(reference) and not reference.equal(evidence.expected):
            return Explanation(
                "slots-swapped",
                f"it is the gradient of {other!r}: returned in the wrong order",
                "return the gradients in the order of the forward's inputs",
            )
    return None


def _transposed(evidence: Evidence) -> Explanation | None:
    expected = evidence.expected
    if not 2 <= expected.ndim <= 5:
        return None
    for order in itertools.permutations(range(expected.ndim)):
        if order != tuple(range(expected.ndim)) and evidence.fits(expected.permute(order)):
            axes = "" if expected.ndim == 2 else f" (axes in the order {order})"
            return Explanation("transposed", f"it is the transposed reference{axes}", "transpose it back")
    return None


def _permuted(evidence: Evidence) -> Explanation | None:
    expected = evidence.expected
    for axis in range(expected.ndim):
        if expected.shape[axis] < 2:
            continue
        if evidence.fits(expected.flip(axis)):
            return Explanation("permuted", f"it is the reference reversed along axis {axis}", f"flip it along axis {axis}")
        for shift in range(1, min(expected.shape[axis], 33)):
            if evidence.fits(expected.roll(shift, axis)):
                return Explanation(
                    "permuted",
                    f"it is the reference rolled by {shift} along axis {axis}",
                    "undo the shift of the index",
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
            candidate = grad_output.double().sum(axis)
            if candidate.shape == evidence.actual.shape and evidence.fits(candidate):
                return Explanation(
                    "wrong-axis",
                    f"it equals grad_output reduced over axis {axis}, and the reference does not",
                    f"reduce over another axis than {axis}",
                )
    return None
