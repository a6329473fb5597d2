"""Multiples of the reference: zero, the wrong sign, a constant that has a name."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from gradcheck_lab.diagnosis.evidence import Evidence, Explanation
from gradcheck_lab.tolerance import unit_roundoff


def rescaled(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is c times the reference; None when it is no multiple."""
    actual, expected = evidence.actual, evidence.expected
    if actual.shape != expected.shape or not actual.numel():
        return None
    if not bool(actual.any()):
        return Explanation(
            "zero-gradient",
            "it is zero in every element where the reference is not",
            f"return the gradient of {evidence.name!r} instead of zeros, and look for a detach or an overwritten buffer",
        )
    flat, reference = _sample(actual), _sample(expected)
    square = float((reference.conj() * reference).real.sum())
    if square == 0.0 or not math.isfinite(square):
        return None
    factor = (reference.conj() * flat).sum() / square
    if factor.is_complex() and abs(float(factor.imag)) > 1e-6 * abs(float(factor.real)):
        return None
    c = float(factor.real)
    if not evidence.fits(reference * c, flat) or abs(c - 1) < 1e-12:
        return None
    if abs(c + 1) <= 64 * unit_roundoff(evidence.dtype):
        return Explanation("sign", "it is exactly -1 times the reference", f"negate the gradient of {evidence.name!r}")
    return _constant(evidence, c)


def _constant(evidence: Evidence, c: float) -> Explanation:
    tolerance = 256 * unit_roundoff(evidence.dtype)
    for value, what, why, fix in _constants(evidence):
        for sign, word in ((1.0, ""), (-1.0, "minus ")):
            if abs(c - sign * value) <= tolerance * abs(value):
                negate = " and negate it" if sign < 0 else ""
                sentence = f"it is {word}{what} the reference" + (f", and {why}" if why else "")
                return Explanation("constant-factor", sentence, f"{fix}{negate}")
    sentence = f"it is {c:.6g} times the reference"
    return Explanation("constant-factor", sentence, f"divide it by {c:.6g}: a factor is missing or misplaced")


def _constants(evidence: Evidence) -> Iterator[tuple[float, str, str, str]]:
    """Constants that mistakes leave behind, the commonest first: value, what to call it, why, and the fix."""
    yield 2.0, "exactly 2 times", "", "divide it by 2"
    yield 0.5, "exactly half", "", "multiply it by 2"
    for n, where in _sizes(evidence):
        yield n, f"{n} times", f"{n} is {where}: a mean was not applied", f"divide it by {n}"
        yield 1 / n, f"1/{n} of", f"{n} is {where}: a mean was applied twice, or to a sum", f"multiply it by {n}"
    for n, where in _sizes(evidence):
        why = f"{n} is {where}"
        yield 2 * n, f"2 * {n} times", why, f"divide it by {2 * n}"
        yield 2 / n, f"2/{n} of", why, f"multiply it by {n}/2"
        yield n / 2, f"{n}/2 times", why, f"multiply it by 2/{n}"
        yield n**0.5, f"sqrt({n}) times", why, f"divide it by sqrt({n})"
        yield n**-0.5, f"1/sqrt({n}) times", why, f"multiply it by sqrt({n})"
        if n > 2:
            yield (n - 1) / n, f"({n} - 1)/{n} times", why, f"multiply it by {n}/({n} - 1)"
            yield n / (n - 1), f"{n}/({n} - 1) times", why, f"multiply it by ({n} - 1)/{n}"


def _sizes(evidence: Evidence) -> Iterator[tuple[int, str]]:
    seen = {1, 2}
    for name, tensor in evidence.tensors.items():
        for axis, n in enumerate(tensor.shape):
            if n not in seen:
                seen.add(n)
                yield n, f"the size of axis {axis} of {name!r}" if axis else f"the batch size (axis 0 of {name!r})"
    for name, tensor in evidence.tensors.items():
        if tensor.numel() not in seen and tensor.numel():
            seen.add(tensor.numel())
            yield tensor.numel(), f"the number of elements of {name!r}"


def _sample(value: torch.Tensor) -> torch.Tensor:
    step = max(1, value.numel() // (1 << 20))
    wide = torch.complex128 if value.is_complex() else torch.float64
    return value.reshape(-1)[::step].to(wide)
