"""The calls that a candidate is judged on: drawn from the task's specs, with sizes, strides and values that nobody foresees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch

from gradcheck_lab.calls.layouts import EXPANDED
from gradcheck_lab.calls.recipe import CallRecipe
from gradcheck_lab.fuzzing.coding import Coding
from gradcheck_lab.judging.task import Task
from gradcheck_lab.model.limits import JUDGED_ELEMENTS, LARGE_CALL_ELEMENTS, LARGE_INTERMEDIATE, TRIES_OF_A_DRAW
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.torch_internals import DispatchMode

_SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 17, 33)
_LARGE_SIZES = (5, 7, 11, 19, 37, 67, 131, 257, 521, 1031, 2053)  # primes: multiples of no block


@dataclass(frozen=True, slots=True)
class Lane:
    """One dtype and one set of options in which a candidate is judged."""

    dtype: torch.dtype
    options: Mapping[str, Any]


def lanes_of(task: Task) -> list[Lane]:
    """Each dtype with each set of options."""
    return [Lane(dtype, options) for dtype in task.dtypes for options in task.options]


def drawn_calls(task: Task, lane: Lane, count: int, random: Random) -> list[CallRecipe]:
    """At least `count` calls that the reference takes, three of the same shapes after one another; none where it takes few.

    The third is of ordinary values, and none of the first three is expanded: what is wrong in such a call, which lies where
    others were, needs no second look elsewhere, where it would be right.
    """
    found: list[CallRecipe] = []
    coding = _coding(task, lane, _SIZES)
    for _ in range(TRIES_OF_A_DRAW.value * count):
        if len(found) >= count:
            break
        first = _ordinary_where_narrow(coding.decode(random.randbytes(coding.width)), task, lane)
        first = first if found else _not_expanded(first)
        calls = [first, _with_other_values(first, random), _ordinary(_with_other_values(first, random))]
        if 0 < first.elements <= JUDGED_ELEMENTS.value and all(takes(task, lane, call.build().inputs) for call in calls):
            found += calls
    return found


def _with_other_values(call: CallRecipe, random: Random) -> CallRecipe:
    tensors = tuple(replace(tensor, seed=random.getrandbits(32)) for tensor in call.tensors)
    return replace(call, tensors=tensors, seed=random.getrandbits(32))


def _ordinary(call: CallRecipe) -> CallRecipe:
    return replace(call, tensors=tuple(replace(tensor, profile="ordinary") for tensor in call.tensors))


def _not_expanded(call: CallRecipe) -> CallRecipe:
    tensors = (replace(t, layout="contiguous") if t.layout == EXPANDED else t for t in call.tensors)
    return replace(call, tensors=tuple(tensors))


def large_call(task: Task, lane: Lane, random: Random) -> CallRecipe | None:
    """The largest call of odd sizes that the reference takes without tensors much larger than it; None where it takes none."""
    found = None
    for first in range(len(_LARGE_SIZES) - 2):
        coding = _coding(task, lane, _LARGE_SIZES[first : first + 3])
        larger = next((c for c in _without_layouts(coding, random) if 0 < c.elements <= LARGE_CALL_ELEMENTS.value), None)
        if larger is None:
            break
        with _Largest() as largest:
            taken = takes(task, lane, larger.build().inputs)
        if found is not None and largest.elements > LARGE_INTERMEDIATE.value:
            break
        if taken:
            found = larger
    return found


class _Largest(DispatchMode):
    """Sees how many elements the largest tensor has that is made in its block."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        made = [value.numel() for value in as_tuple(result) if isinstance(value, torch.Tensor)]
        self.elements = max([self.elements, *made])
        return result


def takes(task: Task, lane: Lane, given: Sequence[torch.Tensor]) -> bool:
    """Whether the reference returns finite numbers for some inputs, which autograd can follow."""
    inputs = [
        value.detach().requires_grad_() if value.is_floating_point() else value
        for value in (tensor.double() if tensor.is_floating_point() else tensor for tensor in given)
    ]
    try:
        result = task.reference(*inputs, **lane.options)
    except Exception:
        return False
    outputs = [value for value in as_tuple(result) if isinstance(value, torch.Tensor)]
    finite = all(bool(torch.isfinite(value).all()) for value in outputs)
    return finite and any(value.requires_grad and value.numel() for value in outputs)


def _coding(task: Task, lane: Lane, sizes: tuple[int, ...]) -> Coding:
    return Coding(
        (task.specs,), sizes, (task.tolerance_dtype or lane.dtype,), {name: [value] for name, value in lane.options.items()}
    )


def _ordinary_where_narrow(call: CallRecipe, task: Task, lane: Lane) -> CallRecipe:
    """Values at which every digit cancels say little in a narrow dtype: they are drawn in float64, where that is judged too."""
    if lane.dtype == torch.float64 or torch.float64 not in task.dtypes:
        return call
    return _ordinary(call)


def _without_layouts(coding: Coding, random: Random) -> Iterator[CallRecipe]:
    for _ in range(8):
        call = coding.decode(random.randbytes(coding.width))
        yield replace(call, tensors=tuple(replace(t, profile="ordinary", layout="contiguous") for t in call.tensors))
