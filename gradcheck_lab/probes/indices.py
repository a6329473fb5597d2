"""The gradient is right for any integers in range: repeated indices, one index throughout, the bounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import LANE_ELEMENTS
from gradcheck_lab.probes.options import known_options, placed_options
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.cut_down import cut_down
from gradcheck_lab.probes.support.derived_calls import (
    DerivedCall,
    derived_case,
    examine_derived_call,
    holds_integers,
    repeated_index_text,
    wide_inputs,
)

_LEFT_OUT = re.compile(r"ignore|pad|blank|(^|_)(index|idx|id|token)$", re.IGNORECASE)
_UNASKED = "-1, the last one"


def indices(context: Context) -> Iterator[Finding]:
    """Put repeated, equal and extreme indices in the place of the integer inputs, within the range of the given ones."""
    if not context.uses_autograd or not any(map(holds_integers, context.case.inputs)):
        return
    given = cut_down(context, wide_inputs(context), LANE_ELEMENTS.value)
    which = [i for i, value in enumerate(given) if holds_integers(value)]
    reported: set[str | None] = set()
    marks = {f"some of them {name}, {value}": partial(_marked, value) for name, value in _ignored(context).items()}
    for words, change in (_CHANGES | marks).items():
        inputs = tuple(
            (_ROWS.get(words, change) if _tuples(v, given) else change)(v) if i in which else v for i, v in enumerate(given)
        )
        names = " and ".join(context.name(i) for i in which)
        condition = f"the indices in {names} {words}"
        derived = examine_derived_call(context, derived_case(context, inputs=inputs, label=condition))
        for new_error in () if derived is None else derived.new_errors:
            if new_error.gradient not in reported and derived is not None:
                reported.add(new_error.gradient)
                yield _finding(derived, new_error, condition, asked=words != _UNASKED)


def _repeated(value: torch.Tensor) -> torch.Tensor:
    """Three of the given values in turn, none equally often."""
    flat = value.reshape(-1)
    few = flat[:: max(1, flat.numel() // 3)][:3]
    order = torch.tensor([0, 1, 0, 2, 0, 1], device=value.device) % few.numel()
    return few[order.repeat(flat.numel() // 6 + 1)[: flat.numel()]].reshape(value.shape)


def _repeated_rows(value: torch.Tensor) -> torch.Tensor:
    return value[_repeated(torch.arange(value.shape[0], device=value.device))]


def _equal_rows(value: torch.Tensor) -> torch.Tensor:
    return value[:1].expand(value.shape).clone()


def _as_it_is(value: torch.Tensor) -> torch.Tensor:
    return value


def _tuples(value: torch.Tensor, inputs: Sequence[object]) -> bool:
    """Whether the rows are tuples of different indices, as edges of a graph are; not of a gather, whose rows are the data's."""
    if value.ndim < 2 or not 2 <= value.shape[-1] <= 4 or value.shape[0] < 2:
        return False
    data = [v for v in inputs if is_differentiable(v) and isinstance(v, torch.Tensor) and v.ndim == value.ndim]
    if any(v.shape[0] == value.shape[0] for v in data):
        return False
    ordered = value.reshape(-1, value.shape[-1]).sort(-1).values
    return bool((ordered.diff(dim=-1) != 0).all())


def _equal(value: torch.Tensor) -> torch.Tensor:
    return value.reshape(-1)[:1].expand(value.numel()).clone().reshape(value.shape)


def _bounds(value: torch.Tensor) -> torch.Tensor:
    low, high = value.min(), value.max()
    flat = torch.where(torch.arange(value.numel(), device=value.device) % 2 == 0, low, high)
    return flat.reshape(value.shape)


def _from_the_end(value: torch.Tensor) -> torch.Tensor:
    """Every second one counted from the end; as it is where some already are, or none may be."""
    if int(value.min()) < 0 or value.dtype == torch.uint8:
        return value
    flat = torch.where(torch.arange(value.numel(), device=value.device) % 2 == 0, -1, value.reshape(-1))
    return flat.reshape(value.shape).to(value.dtype)


def _marked(mark: int, value: torch.Tensor) -> torch.Tensor:
    """Every third one, from the second on, set to what an option leaves out; as it is where its dtype has no such number."""
    if value.dtype == torch.uint8 and mark < 0:
        return value
    flat = torch.where(torch.arange(value.numel(), device=value.device) % 3 == 1, mark, value.reshape(-1))
    return flat.reshape(value.shape).to(value.dtype)


def _ignored(context: Context) -> dict[str, int]:
    """The options, given or at their defaults, that say which index is left out."""
    every = {**known_options(context), **placed_options(context)}
    return {n: v for n, v in every.items() if isinstance(v, int) and not isinstance(v, bool) and _LEFT_OUT.search(n)}


_CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "repeated": _repeated,
    "all equal": _equal,
    "at the bounds of their range": _bounds,
    _UNASKED: _from_the_end,
}


# of tuples, whole rows are repeated: an edge from a point to itself is another case
_ROWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "repeated": _repeated_rows,
    "all equal": _equal_rows,
    "at the bounds of their range": _as_it_is,
}


def _finding(derived: DerivedCall, new_error: Finding, condition: str, asked: bool) -> Finding:
    shares = None if new_error.cause in having("no_result") else repeated_index_text(derived, new_error)
    if shares:
        cause, why = "duplicate-index", shares
        fix = "add instead of writing: index_add_, scatter_add_, index_put_(accumulate=True) or np.add.at"
    else:
        cause, why, fix = "value-dependent", new_error.explanation, "derive the rule again for these indices"
    honest = new_error.cause in having("no_result") and not asked  # nobody said that it is meant
    return replace(
        new_error,
        cause=cause,
        severity="note" if honest else new_error.severity,
        message=f"{new_error.message}, with {condition}",
        explanation=f"right on the indices given, wrong with {condition}: {why}",
        suggestion=fix,
        probe="indices",
        case=condition,
    )
