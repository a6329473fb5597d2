"""Mistakes that may be in a gradient besides another one, which no pattern of the whole gradient shows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from gradcheck_lab.diagnosis.constants import constants
from gradcheck_lab.diagnosis.deviation import NEGATED, Deviation, multiplied, of_input
from gradcheck_lab.diagnosis.evidence import Evidence, Explanation
from gradcheck_lab.diagnosis.scaling import constant_factor
from gradcheck_lab.model.limits import GUESSED_FACTORS


def guesses(evidence: Evidence, causes: Collection[str]) -> Iterator[Explanation]:
    """What these causes may have made of the gradient, for those that can be taken away without knowing what else is wrong."""
    expected = evidence.expected
    if evidence.actual.shape != expected.shape:
        return
    if "sign" in causes:
        yield _guess("sign", "it has the other sign", NEGATED)
    if "slots-swapped" in causes:
        for name, reference in evidence.references.items():
            if name != evidence.name and reference.shape == expected.shape:
                yield _guess("slots-swapped", f"it is the gradient of {name!r}", Deviation(predict=of_input(name)))
    if "transposed" in causes and expected.ndim == 2 and expected.shape[0] == expected.shape[1]:
        yield _guess("transposed", "it is the transposed reference", Deviation(undo=lambda gradient: gradient.mT))
    if "missing-conjugate" in causes and expected.is_complex():
        turned = Deviation(undo=lambda gradient: gradient.conj().resolve_conj())
        yield _guess("missing-conjugate", "its imaginary part has the other sign", turned)
    if "constant-factor" in causes and (c := _typical_factor(evidence)) is not None:
        yield replace(constant_factor(evidence, c), deviation=multiplied(c, True))


def seconds(evidence: Evidence) -> Iterator[Explanation]:
    """The simplest mistakes that another one may be beside: the sign, and the most common factors."""
    yield _guess("sign", "it has the other sign", NEGATED)
    for count, (c, *_) in enumerate(constants(evidence, simple=True)):
        if count == GUESSED_FACTORS.value:
            return
        yield replace(constant_factor(evidence, c), deviation=multiplied(c, True))


def _guess(cause: str, sentence: str, deviation: Deviation) -> Explanation:
    return Explanation(cause, sentence, "take it away", deviation=deviation)


def _typical_factor(evidence: Evidence) -> float | None:
    """The median of gradient over reference, which elements with another mistake do not move as long as they are few."""
    if not evidence.real:
        return None
    actual, expected = evidence.actual.double().reshape(-1), evidence.expected.double().reshape(-1)
    telling = expected != 0
    if not bool(telling.any()):
        return None
    c = float((actual[telling] / expected[telling]).median())
    return c if c not in (0.0, 1.0) else None
