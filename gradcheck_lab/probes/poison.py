"""Every element of a gradient is written: memory that the backward allocates uninitialised is filled with NaN before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.amounts import POISON
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import POISONED_ELEMENTS
from gradcheck_lab.model.precision.derived_calls import POISONED
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.probes.support.dirty_memory import filled_otherwise
from gradcheck_lab.torch_internals import DispatchMode

_EMPTY = frozenset("empty empty_like empty_strided new_empty new_empty_strided empty_permuted".split())
_ZEROS = frozenset("zeros zeros_like new_zeros".split())


def poison(context: Context) -> Iterator[Finding]:
    """Run the call with uninitialised memory filled with NaN, then with a large number, and look for it in the gradients."""
    if not context.gradients:
        return
    reported: set[int] = set()
    large = sum(v.numel() for v in context.case.inputs if isinstance(v, torch.Tensor)) > POISONED_ELEMENTS.value
    for value in (float("nan"),) if large else (float("nan"), POISON.value):
        with poisoned(value) as mode:
            found = _run(context)
        if not mode.filled or found.error is not None:
            return
        if value != value and (hit := _unwritten_output(context, found)) is not None:
            yield _finding(context, None, hit)
            return
        for i, (mine, clean) in enumerate(zip(found.gradients, context.gradients, strict=False)):
            if i in reported or not is_differentiable(mine) or not is_differentiable(clean) or mine.shape != clean.shape:
                continue
            hit = torch.isnan(mine) & ~torch.isnan(clean)
            if value == value:
                hit = (mine.abs() > POISONED.value) & (clean.abs() < POISONED.value)
            if bool(hit.any()) and not (context.equal(mine, clean)):
                reported.add(i)
                yield _finding(context, i, hit)


def poison_in_pieces(whole: Context, piece: Context) -> Iterator[Finding]:
    """The same for a call that is compared in pieces: on the first piece, and on the whole where that allocates memory."""
    found = list(poison(piece))
    yield from found
    with poisoned(float("nan")) as mode:
        _run(piece)
    if mode.filled and not found:
        yield from poison(whole)


class Poison(DispatchMode):
    """Fills floating tensors that are allocated empty, or by one of some functions, with one value."""

    def __init__(self, value: float, functions: frozenset[str] = _EMPTY) -> None:
        super().__init__()
        self.value, self.functions, self.filled = value, functions, 0

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        if func.overloadpacket.__name__ in self.functions and is_differentiable(result):
            self.filled += 1
            result.fill_(min(self.value, torch.finfo(result.dtype).max / 4) if self.value == self.value else self.value)
        return result


@contextmanager
def poisoned(value: float, zeros: bool = False) -> Iterator[Poison]:
    """Within the block, `torch.empty`, `numpy.empty` and the like return memory filled with `value`.

    With `zeros`, so do `torch.zeros` and the like: what nobody writes there shows too.
    """
    mode = Poison(value, _EMPTY | _ZEROS if zeros else _EMPTY)
    numpy: Any = sys.modules.get("numpy")
    names = ("empty", "empty_like", *(("zeros", "zeros_like") if zeros else ()))
    originals = {name: getattr(numpy, name) for name in names} if numpy is not None else {}

    def filled_by(make: Any) -> Any:
        def make_filled(*args: Any, **kwargs: Any) -> Any:
            result = make(*args, **kwargs)
            if result.dtype.kind in "fc":
                mode.filled += 1
                result.fill(value)
            return result

        return make_filled

    for name, make in originals.items():
        setattr(numpy, name, filled_by(make))
    try:
        with filled_otherwise(), mode:
            yield mode
    finally:
        for name, make in originals.items():
            setattr(numpy, name, make)


def _unwritten_output(context: Context, found: Run) -> torch.Tensor | None:
    """Where an output is NaN on memory filled with NaN, and finite on memory filled with zeros."""
    if all(bool(torch.isfinite(v).all()) for v in found.outputs if is_differentiable(v)):
        return None
    with poisoned(0.0):
        clean = _run(context)
    for mine, other in zip(found.outputs, clean.outputs, strict=False):
        if is_differentiable(mine) and is_differentiable(other) and mine.shape == other.shape:
            hit = torch.isnan(mine.detach()) & ~torch.isnan(other.detach())
            if bool(hit.any()):
                return hit
    return None


def _run(context: Context) -> Run:
    return context.run(context.case)


def unwritten_words(hit: torch.Tensor) -> str:
    """`3 of 40 elements; elements from [7, 2] on`: how many elements were not written, and where."""
    first = [int(k) for k in hit.nonzero()[0]] if hit.ndim else []
    flat = hit.reshape(-1)
    tail = f"elements from {first} on" if bool(flat[int(flat.int().argmax()) :].all()) else f"the first at {first}"
    return f"{int(hit.sum())} of {hit.numel()} elements; {tail}"


def _finding(context: Context, index: int | None, hit: torch.Tensor) -> Finding:
    what, allocates = ("output", "forward") if index is None else (f"gradient of {context.label(index)}", "backward")
    count, where = unwritten_words(hit).split("; ", 1)
    return Finding(
        "unwritten-elements",
        "error",
        f"{what} is not written in {count}",
        gradient=None if index is None else context.name(index),
        explanation=f"they hold whatever was in the memory that the {allocates} allocated with empty: {where}",
        suggestion="allocate it with zeros, or write every element",
        probe="poison",
        case="uninitialised memory filled with NaN",
    )
