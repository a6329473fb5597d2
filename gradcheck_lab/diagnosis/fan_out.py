"""A value that is used several times, and the gradient lacks the contributions of some uses."""

from __future__ import annotations

from gradcheck_lab.diagnosis.evidence import Claim, Evidence, Explanation


def missing_uses(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is the reference without the contributions of some uses of a value; else None."""
    if not evidence.real or evidence.actual.numel() < 2:
        return None
    for path in evidence.paths():
        if not bool(path.gradient.any()) or not evidence.fits(path.gradient) or evidence.fits(path.gradient, evidence.expected):
            continue
        claims = Claim(path.value), Claim(path.kept), Claim(path.lost)
        user = repr(evidence.name) if path.value == "it" else path.value
        if path.assigned or evidence.assigned:
            return Explanation(
                "fan-out-overwritten",
                f"{user} is used in {path.kept} and in {path.lost}, and only what {path.kept} sends back arrives",
                f"add the gradients of all uses of {user}: += where there is =",
                claims=claims,
            )
        return Explanation(
            "missing-term",
            f"{user} is used in {path.kept} and in {path.lost}, and the term through {path.lost} is missing",
            f"add what {path.lost} sends back to {user}",
            claims=claims,
        )
    return None
