"""The gradient is right for any indices in range: repeated, all equal, at the bounds, counted from the end, ignored."""

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
from gradcheck_lab.probes.support.code_of import checks_its_sizes
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
from gradcheck_lab.probes.support.option_values import known_options, options_among_inputs

_IGNORED_INDEX_OPTION = re.compile(r"ignore|pad|blank|(^|_)(index|idx|id|token)$", re.IGNORECASE)
_FROM_THE_END = "-1, the last one"


def indices(context: Context) -> Iterator[Finding]:
    """Replace the integer inputs by repeated, equal and extreme indices within the range of the user's."""
    if not context.derives or not any(map(holds_integers, context.case.inputs)):
        return
    given = cut_down(context, wide_inputs(context), LANE_ELEMENTS.value)
    which = [i for i, value in enumerate(given) if holds_integers(value)]
    reported: set[str | None] = set()
    ignored = _ignored(context)
    options = {f"some of them {name}, {value}": name for name, value in ignored.items()}
    ignored_changes = {words: partial(_with_ignored, ignored[name]) for words, name in options.items()}
    for description, change in (_CHANGES | ignored_changes).items():
        if description == _FROM_THE_END and (not checks_its_sizes(context) or -1 in ignored.values()):
            continue  # a kernel may trust its indices, and read before the first; or -1 is no index
        inputs = tuple(
            (_CHANGES_OF_ROWS.get(description, change) if _has_tuples_for_rows(v, given) else change)(v) if i in which else v
            for i, v in enumerate(given)
        )
        names = " and ".join(context.name(i) for i in which)
        condition = f"the indices in {names} {description}"
        derived = examine_derived_call(context, derived_case(context, inputs=inputs, label=condition))
        for new_error in () if derived is None else derived.new_errors:
            if new_error.gradient not in reported and derived is not None:
                reported.add(new_error.gradient)
                option = options.get(description)
                within = description != _FROM_THE_END and (option is None or ignored[option] != -1)
                yield _finding(derived, new_error, condition, within, option)


def _repeated(value: torch.Tensor) -> torch.Tensor:
    """Up to three of the values, each a different number of times."""
    flat = value.reshape(-1)
    three = flat[:: max(1, flat.numel() // 3)][:3]
    order = torch.tensor([0, 1, 0, 2, 0, 1], device=value.device) % three.numel()
    return three[order.repeat(flat.numel() // 6 + 1)[: flat.numel()]].reshape(value.shape)


def _repeated_rows(value: torch.Tensor) -> torch.Tensor:
    return value[_repeated(torch.arange(value.shape[0], device=value.device))]


def _equal_rows(value: torch.Tensor) -> torch.Tensor:
    return value[:1].expand(value.shape).clone()


def _unchanged(value: torch.Tensor) -> torch.Tensor:
    return value


def _has_tuples_for_rows(value: torch.Tensor, inputs: Sequence[object]) -> bool:
    """Whether each row is a tuple of different indices, as an edge of a graph; False where rows match those of the data."""
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
    """Replace every second index by -1, the last one; unchanged where there are negative ones, or none are possible."""
    if int(value.min()) < 0 or value.dtype == torch.uint8:
        return value
    flat = torch.where(torch.arange(value.numel(), device=value.device) % 2 == 0, -1, value.reshape(-1))
    return flat.reshape(value.shape).to(value.dtype)


def _with_ignored(ignored: int, value: torch.Tensor) -> torch.Tensor:
    """Replace every third index, from the second on, by the ignored one; unchanged where the dtype cannot hold it."""
    if value.dtype == torch.uint8 and ignored < 0:
        return value
    flat = torch.where(torch.arange(value.numel(), device=value.device) % 3 == 1, ignored, value.reshape(-1))
    return flat.reshape(value.shape).to(value.dtype)


def _ignored(context: Context) -> dict[str, int]:
    """The options, passed or at their defaults, that name an index to be ignored, with its value."""
    every = {**known_options(context), **options_among_inputs(context)}
    return {
        n: v for n, v in every.items() if isinstance(v, int) and not isinstance(v, bool) and _IGNORED_INDEX_OPTION.search(n)
    }


_CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "repeated": _repeated,
    "all equal": _equal,
    "at the bounds of their range": _bounds,
    _FROM_THE_END: _from_the_end,
}


# for rows that are tuples, whole rows are repeated: indices within a row stay different
_CHANGES_OF_ROWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "repeated": _repeated_rows,
    "all equal": _equal_rows,
    "at the bounds of their range": _unchanged,
}


def _finding(derived: DerivedCall, new_error: Finding, condition: str, is_within_range: bool, option: str | None) -> Finding:
    """What is said of a wrong gradient; `option` is the one that says that some of these indices are ignored."""
    number = new_error.cause not in having("no_result")
    # calls that repeat indices and ignore none came before, and were right
    repeated_index = repeated_index_text(derived, new_error) if number and option is None else None
    if repeated_index:
        cause, why = "duplicate-index", repeated_index
        fix = "add instead of writing: index_add_, scatter_add_, index_put_(accumulate=True) or np.add.at"
    elif option is not None and number:
        cause, why, fix = "option-specialised", new_error.explanation, f"use {option!r} in the backward as the forward does"
    elif new_error.cause == "constant-factor":  # the number of all for the number of those that count
        cause, why, fix = new_error.cause, new_error.explanation, new_error.suggestion
    else:
        cause, why, fix = "value-dependent", new_error.explanation, "derive the rule again for these indices"
    is_refusal = new_error.cause in having("no_result") and not is_within_range  # negative indices need not be supported
    return replace(
        new_error,
        cause=cause,
        severity="note" if is_refusal else new_error.severity,
        message=f"{new_error.message}, with {condition}",
        explanation=f"right on the indices given, wrong with {condition}: {why}",
        suggestion=fix,
        probe="indices",
        case=condition,
    )
