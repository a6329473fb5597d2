"""What a mistake does to the true gradient, so that it can be taken away and the rest compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.model.precision import widened

Predicted = Callable[[Any], torch.Tensor | None]


@dataclass(frozen=True, slots=True)
class Deviation:
    """What an explanation says that the rule does to the true gradient; one of `undo` and `predict` is set.

    `undo` takes it away from a gradient; `predict` gives, from an `Evidence`, the gradient that has this mistake and no other,
    None where the mistake cannot be made on that call. With `same_sizes` its numbers hold for calls of the same sizes and
    options only; on others `anew` fits them again, and where that is None nothing is known there.
    """

    undo: Callable[[torch.Tensor], torch.Tensor] | None = None
    predict: Predicted | None = None
    anew: Predicted | None = None
    same_sizes: bool = False


NEGATED = Deviation(undo=torch.neg)


def only_here(evidence: Any, predicted: torch.Tensor) -> Deviation:
    """The deviation of a gradient whose numbers were fitted to one call, and say nothing of any other."""
    here = evidence.expected

    def predict(other: Any) -> torch.Tensor | None:
        alike = other.expected.shape == here.shape and torch.equal(other.expected.to(here), here)
        return predicted if alike else None

    return Deviation(predict=predict)


def of_input(name: str) -> Predicted:
    """Predicts the gradient of another input."""
    return lambda evidence: evidence.references.get(name)


def multiplied(c: float, by_itself: bool) -> Deviation:
    """The deviation of a gradient that is |c| times the true one; its sign is a mistake of its own.

    A number that is no size or count of the call is the same on every call of the same sizes (`by_itself`).
    """
    if not by_itself:
        return Deviation(predict=any_multiple)
    return Deviation(undo=lambda gradient: widened(gradient) / abs(c), anew=any_multiple, same_sizes=True)


def any_multiple(evidence: Any) -> torch.Tensor | None:
    """The multiple of the true gradient, by a number that is not negative, that is nearest to this one.

    None where the number may be none, as a mean over no rows, which times zero is NaN.
    """
    actual, expected = widened(evidence.actual), widened(evidence.expected)
    square = float((expected.conj() * expected).real.sum())
    if not square:
        return expected if bool(torch.isfinite(actual).all()) else None
    return abs(float((expected.conj() * actual).real.sum()) / square) * expected
