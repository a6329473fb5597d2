"""Masks of a call that hide, or show, a whole row: a case of its own in a softmax, a mean or a maximum of what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.drawn_again import similar_inputs
from gradcheck_lab.calls.masks import mask_values
from gradcheck_lab.calls.stress import Stress
from gradcheck_lab.model.causes import CAUSES, having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import MASKS_TRIED
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.derived_calls import DerivedCall, derived_case, examine_derived_call
from gradcheck_lab.probes.support.stress_causes import cause_of

Row = tuple[int, float]


@dataclass(frozen=True, slots=True)
class WholeRow:
    """The inputs of a call in which rows of one mask, by index, have one value throughout; `words` say so in messages."""

    words: str
    index: int
    inputs: tuple[Any, ...]

    def drawn(self, seed: int) -> tuple[Any, ...]:
        """Similar inputs with the same mask."""
        return tuple(self.inputs[i] if i == self.index else v for i, v in enumerate(similar_inputs(self.inputs)(seed)))


def hidden_rows(context: Context, given: tuple[Any, ...]) -> Iterator[Finding]:
    """Gradients that are not finite where the forward is, or wrong where it gives zeros for such a row.

    What a large negative number in the place of what is hidden leaves of such a row, as of equal scores, says nothing.
    """
    for calls in _whole_rows(context, given):
        for call in calls:
            case = derived_case(context, inputs=call.inputs, label=call.words)
            derived = examine_derived_call(context, case, draw=call.drawn)
            if derived is not None:
                yield from (_finding(derived, call, error) for error in derived.new_errors if _counts(context, derived, error))
                break


def _whole_rows(context: Context, given: tuple[Any, ...]) -> Iterator[tuple[WholeRow, ...]]:
    """For each mask, calls of which the first that the forward takes is enough: both values in one, then each alone."""
    found = [(i, values) for i, v in enumerate(given) if (values := _values(context, i, v)) is not None]
    for index, (low, high) in found[: MASKS_TRIED.value]:
        several = given[index].reshape(-1, given[index].shape[-1]).shape[0] > 1
        both: list[tuple[Row, ...]] = [((0, low), (1, high))] if several else []
        yield tuple(_with_rows(context, given, index, chosen) for chosen in (*both, ((0, low),), ((0, high),)))


def _values(context: Context, index: int, value: Any) -> tuple[float, float] | None:
    """The two values of a mask that has no gradient; else None."""
    if is_differentiable(value) and index < len(context.gradients) and context.gradients[index] is not None:
        return None
    return mask_values(value)


def _with_rows(context: Context, given: tuple[Any, ...], index: int, rows: Sequence[Row]) -> WholeRow:
    mask = given[index].detach().clone(memory_format=torch.contiguous_format)
    for row, value in rows:
        mask.view(-1, mask.shape[-1])[row] = value
    shown = " and one of ".join(str(bool(value)) if mask.dtype == torch.bool else f"{value:g}" for _, value in rows)
    words = f"a whole row of {shown} in {context.name(index)}"
    return WholeRow(words, index, tuple(mask if i == index else v for i, v in enumerate(given)))


def _counts(context: Context, derived: DerivedCall, error: Finding) -> bool:
    pair = derived.returned_and_true(error)
    if pair is None:
        return False
    if not bool(torch.isfinite(pair[0]).all()):
        return True
    before, after = context.once("recording", partial(context.record, context.case)), context.record(derived.case)
    if isinstance(before, Exception) or isinstance(after, Exception):
        return False
    return any(_has_zero_row(b) and not _has_zero_row(a) for a, b in zip(before.outputs, after.outputs, strict=False))


def _has_zero_row(output: torch.Tensor) -> bool:
    return is_differentiable(output) and output.ndim > 0 and bool((output == 0).all(-1).any())


def _finding(derived: DerivedCall, call: WholeRow, error: Finding) -> Finding:
    cause, why = cause_of(derived, Stress(call.words, lambda row: row), error, lambda milder: None)
    return replace(
        error,
        cause=cause,
        message=f"{error.message}, with {call.words}",
        explanation=f"right on the values given, wrong with {call.words}: {why or error.explanation}",
        suggestion=CAUSES[cause].fix if cause in having("at_values") else error.suggestion,
        probe="values",
        case=call.words,
    )
