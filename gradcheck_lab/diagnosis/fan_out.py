"""A value that is used several times: what some uses send back is missing, has the wrong sign, or a factor too many."""

from __future__ import annotations

from collections import Counter
from functools import partial

import torch

from gradcheck_lab.diagnosis.constants import named_constant
from gradcheck_lab.diagnosis.deviation import Deviation, only_here
from gradcheck_lab.diagnosis.evidence import Claim, Evidence, Explanation, PartialGradient, about
from gradcheck_lab.diagnosis.scaling import times
from gradcheck_lab.diagnosis.terms import Residual
from gradcheck_lab.diagnosis.variations import is_enough
from gradcheck_lab.model.precision.fits import ENOUGH_ELEMENTS, NAMED_COEFFICIENT


def missing_uses(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is the reference without the contributions of some uses of a value; else None."""
    if not evidence.real or not is_enough(evidence):
        return None
    for path in evidence.paths():
        if not bool(path.gradient.any()) or not evidence.fits(path.gradient) or evidence.fits(path.gradient, evidence.expected):
            continue
        claims = Claim(path.value), Claim(path.kept), Claim(path.lost)
        user = repr(evidence.name) if path.value == "it" else path.value
        deviation = Deviation(predict=partial(_without, path))
        if _is_written_over(path, evidence):
            return Explanation(
                "fan-out-overwritten",
                f"{user} is used in {path.kept} and in {path.lost}, and only what {path.kept} sends back arrives",
                f"add the gradients of all uses of {user}: += where there is =",
                claims=claims,
                deviation=deviation,
            )
        return Explanation(
            "missing-term",
            f"{user} is used in {path.kept} and in {path.lost}, and the term through {path.lost} is missing",
            f"add what {path.lost} sends back to {user}",
            claims=claims,
            deviation=deviation,
        )
    return None


def _is_written_over(path: PartialGradient, evidence: Evidence) -> bool:
    """Whether what is missing was there: the values that one variable of the backward held add up to the whole gradient.

    Where the backward cannot be watched, the uses that are missing tell: those that a backward reaches before the others.
    """
    whole = path.whole
    held = evidence.held(tuple(evidence.expected.shape if whole is None else whole.shape))
    if held is None:
        return path.assigned or evidence.assigned
    for history in held if whole is not None else ():
        sums = [torch.stack(list(history)).sum(0), *(each + history[-1] for each in history[:-1])]
        assert whole is not None
        if any(evidence.fits(whole, each) for each in sums) and not evidence.fits(whole, history[-1]):
            return True
    return False


# operations that send on what arrives as it is: nothing else is taken for that
_SENDS_ON = frozenset(("add", "sub"))


def one_use_for_another(evidence: Evidence) -> Explanation | None:
    """Explain a gradient in which what one use of a value sends back stands for another's too, as x + x for x + x^T."""
    if not evidence.real or not is_enough(evidence):
        return None
    paths = {(path.value, path.kept, path.lost): path.gradient for path in evidence.paths()}
    for (value, kept, lost), without in paths.items():
        other = paths.get((value, lost, kept))
        if other is None or other.shape != without.shape or evidence.fits(other, without) or lost.split()[0] in _SENDS_ON:
            continue
        twice = evidence.expected + without.to(evidence.expected) - other.to(evidence.expected)
        if evidence.fits(twice) and not evidence.fits(twice, evidence.expected):
            user = repr(evidence.name) if value == "it" else value
            return Explanation(
                "wrong-operand",
                f"{user} is used in {kept} and in {lost}, and what {kept} sends back stands for what {lost} sends back too",
                f"derive what {lost} sends back to {user}, which differs where a factor is not symmetric",
                claims=(Claim(value), Claim(kept), Claim(lost)),
                deviation=only_here(evidence, twice),
            )
    return None


def _without(path: PartialGradient, evidence: Evidence) -> torch.Tensor | None:
    """The gradient of another call without what the same uses send back."""
    alike = (p for p in evidence.paths() if (p.value, p.kept, p.lost) == (path.value, path.kept, path.lost))
    return next((p.gradient for p in alike), None)


def misscaled_use(evidence: Evidence) -> Explanation | None:
    """Explain a gradient in which what some uses of a value send back has the other sign, or a constant factor; else None."""
    if not evidence.real or evidence.actual.numel() < ENOUGH_ELEMENTS.value:
        return None
    residual = Residual(evidence)
    if not residual.certain(1):
        return None
    found = [(path, c) for path in evidence.paths() if (c := _coefficient(evidence, residual, path)) is not None]
    close = NAMED_COEFFICIENT.value * residual.noise / residual.size
    if any(abs(c) <= close for _, c in found):
        return None  # it is missing
    # of equal terms no one is the wrong one: two that are missing are as one with the other sign
    alike = Counter((path.value, f"{c:.6g}") for path, c in found)
    found = [(path, c) for path, c in found if alike[path.value, f"{c:.6g}"] == 1]
    for path, c in found:
        if abs(c + 1) <= close:
            return _of_term(path, -1.0, evidence, "sign", "has the wrong sign", f"negate what {path.lost} sends back")
    found.sort(key=lambda each: named_constant(evidence, each[1]) is None)
    for path, c in found:
        _, what, why, fix = named_constant(evidence, c) or (c, f"{times(c)} times", "", f"divide it by {times(c)}")
        said = f"is {what} what it should be{f', and {why}' if why else ''}"
        factor = about("factor", c, close)
        return _of_term(path, c, evidence, "constant-factor", said, f"{fix}, in what {path.lost} sends back", factor)
    return None


def _coefficient(evidence: Evidence, residual: Residual, path: PartialGradient) -> float | None:
    """The number by which the term through the uses that were left out is multiplied; None where that explains nothing."""
    if path.gradient.shape != evidence.expected.shape:
        return None
    term = evidence.expected.double() - path.gradient.double()
    square = float(term.square().sum())
    if not square > residual.noise**2:
        return None
    c = 1 - float((term * residual.value).sum()) / square
    return c if residual.explained((1 - c) * term) else None


def _of_term(
    path: PartialGradient, c: float, evidence: Evidence, cause: str, said: str, fix: str, factor: Claim | None = None
) -> Explanation:
    user = repr(evidence.name) if path.value == "it" else path.value
    sentence = f"{user} is used in {path.kept} and in {path.lost}, and the term through {path.lost} {said}"
    claims = Claim(path.value), Claim(path.kept), Claim(path.lost), factor or Claim(said)
    deviation = only_here(evidence, evidence.expected - (1 - c) * (evidence.expected - path.gradient.to(evidence.expected)))
    return Explanation(cause, sentence, f"{fix} to {user}", claims=claims, deviation=deviation)
