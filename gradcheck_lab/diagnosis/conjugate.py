"""Complex gradients of the right size and the wrong phase: a conjugate is missing."""

from __future__ import annotations

from gradcheck_lab.diagnosis.evidence import Evidence, Explanation


def unconjugated(evidence: Evidence) -> Explanation | None:
    """Explain a complex gradient whose every element has the reference's modulus and another phase; None otherwise."""
    actual, expected = evidence.actual, evidence.expected
    if not (actual.is_complex() and expected.is_complex()) or not evidence.fits(expected.abs(), actual.abs()):
        return None
    flipped = evidence.fits(expected.conj().resolve_conj())
    what = "its imaginary part has the other sign" if flipped else "its modulus is right and its phase is not"
    return Explanation(
        "missing-conjugate",
        f"{what}: a conjugate is missing",
        f"multiply grad_output by the conjugate of the local derivative of {evidence.name!r}, with .conj()",
    )
