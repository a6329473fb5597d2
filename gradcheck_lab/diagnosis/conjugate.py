"""Complex gradients with a local derivative that was not conjugated."""

from __future__ import annotations

from gradcheck_lab.diagnosis.deviation import Deviation
from gradcheck_lab.diagnosis.evidence import Claim, Evidence, Explanation


def missing_conjugate(evidence: Evidence) -> Explanation | None:
    """Explain a complex gradient that lacks a conjugate, in every element or before a sum over them; None otherwise."""
    actual, expected = evidence.actual, evidence.expected
    if not (actual.is_complex() and expected.is_complex()) or actual.shape != expected.shape:
        return None
    if not evidence.fits(expected.abs(), actual.abs()):
        return _transposed_only(evidence)
    whole = _transposed_only(evidence)
    flipped = evidence.fits(expected.conj().resolve_conj())
    what = "its imaginary part has the other sign" if flipped else "its modulus is right and its phase is not"
    return Explanation(
        "missing-conjugate",
        f"{what}: a conjugate is missing",
        f"multiply grad_output by the conjugate of the local derivative of {evidence.name!r}, with .conj()",
        claims=(Claim("flipped" if flipped else "turned"),),
        deviation=None if whole is None else whole.deviation,
    )


def _transposed_only(evidence: Evidence) -> Explanation | None:
    """Explain J^T g instead of J^H g; since elements are summed, the moduli differ as well."""
    found = evidence.conjugated()
    if found is None or not evidence.fits(found):
        return None
    return Explanation(
        "missing-conjugate",
        "it is J^T g, and the gradient is J^H g: a conjugate is missing",
        f"conjugate what grad_output is multiplied by in the gradient of {evidence.name!r}: .mH for .mT, .conj()",
        deviation=Deviation(predict=lambda other: other.conjugated()),
    )
