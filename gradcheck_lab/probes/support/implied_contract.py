"""Whether other sizes or ranks are implied by the user's call; a forward may also accept others by accident."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.model.amounts import END_OF_AN_AXIS
from gradcheck_lab.model.limits import RELATED_PARTS
from gradcheck_lab.model.precision.derived_calls import MAPPED, MAPPED_NEAR_ZERO
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.steps import Lines
from gradcheck_lab.torch_internals import DispatchMode

Relation = tuple[int, int, int]
Slice = tuple[int, str, int, int]
Part = tuple[int, int]


def is_implied(
    context: Context, case: Case, outputs: tuple[torch.Tensor, ...], by_chance: bool = False, rounded: bool = False
) -> bool:
    """Whether the sizes and ranks of a derived case are implied by the user's call.

    They are where its outputs relate to its inputs as before, a new leading dimension is one of independent calls, and the
    forward neither slices an axis of another size at the same constants nor parts unevenly what it parted evenly. `outputs`
    have the shapes of the derived case's. Where the call's sizes are equal or 1 `by_chance`, so may be those of an output and
    an input that have nothing to do with each other: then it is enough that every axis of an output has the size of an axis
    that it was as long as. With `rounded`, a part of an axis may leave a rest, as windows do that do not fit.
    """
    related = keeps_shape_relations(context, case, outputs, rounded) or (by_chance and keeps_sizes(context, case, outputs))
    return (
        related
        and adds_independent_calls(context, case)
        and not slices_at_constants(context, case)
        and not parts_unevenly(context, case)
    )


def keeps_shape_relations(context: Context, case: Case, outputs: tuple[torch.Tensor, ...], rounded: bool = False) -> bool:
    """Whether each output whose shape is that of an input in the user's call, or a part or multiple of it, still is."""
    given = context.case.inputs
    for before, after in zip(context.case.grad_outputs or (), outputs, strict=False):
        related = {
            i: found for i, v in enumerate(given) if isinstance(v, torch.Tensor) and (found := _shape_relation(v, before))
        }
        if related and all(_shape_relation(case.inputs[i], after, found, rounded) is None for i, found in related.items()):
            return False
    return True


def keeps_sizes(context: Context, case: Case, outputs: tuple[torch.Tensor, ...]) -> bool:
    """Whether each axis of an output is as long as one of the input axes that it was as long as in the user's call, if any."""
    sizes: dict[int, set[int]] = {}
    for given, value in zip(context.case.inputs, case.inputs, strict=True):
        if isinstance(given, torch.Tensor):
            for a, b in zip(given.shape, value.shape, strict=False):
                sizes.setdefault(a, {a} if a == 1 else set()).add(b)
    return all(
        len(before.shape) == len(after.shape)
        and all(a not in sizes or b in sizes[a] for a, b in zip(before.shape, after.shape, strict=True))
        for before, after in zip(context.case.grad_outputs or (), outputs, strict=False)
    )


def _shape_relation(
    value: torch.Tensor, output: torch.Tensor, known: Relation | None = None, rounded: bool = False
) -> Relation | None:
    """The axis (from the end) along which an output is a part or a multiple of an input, all others equal, and the ratio.

    A part of one element may be what an axis was reduced to, whose length is no ratio: it counts as 0 parts. With `known`,
    that relation if it holds, or, `rounded`, if it does up to less than one part; None where there is none.
    """
    if not value.ndim or value.ndim != output.ndim:
        return None
    differ = [k - value.ndim for k, (a, b) in enumerate(zip(value.shape, output.shape, strict=True)) if a != b]
    if known is not None:
        axis, times, parts = known
        rest = value.shape[axis] * times - output.shape[axis] * parts
        fits = not rest or (rounded and abs(rest) < parts) or (not parts and output.shape[axis] == 1)
        return known if fits and set(differ) <= {axis} else None
    if not differ:
        return -1, 1, 1
    a, b = value.shape[differ[0]], output.shape[differ[0]]
    if len(differ) > 1 or not a or not b or max(a, b) % min(a, b) or max(a, b) // min(a, b) > RELATED_PARTS.value:
        return None
    if a > b:
        return differ[0], 1, 0 if b == 1 else a // b
    return differ[0], b // a, 1


def adds_independent_calls(context: Context, case: Case) -> bool:
    """Whether each output is the stack, sum or mean of those of independent calls, one per index of a new leading dimension.

    True where there is no new dimension.
    """
    given = context.case.inputs
    new = [i for i, v in enumerate(case.inputs) if isinstance(v, torch.Tensor) and v.ndim == given[i].ndim + 1]
    if not new:
        return True
    count = case.inputs[new[0]].shape[0]
    together = _outputs(context, case.inputs, case)
    parts = [_outputs(context, tuple(v[k] if i in new else v for i, v in enumerate(case.inputs)), case) for k in range(count)]
    if together is None or None in parts:
        return False
    return all(_is_stack_sum_or_mean(mine, [part[k] for part in parts if part is not None]) for k, mine in enumerate(together))


def _is_stack_sum_or_mean(together: torch.Tensor, parts: list[torch.Tensor]) -> bool:
    if any(part.shape != parts[0].shape for part in parts):
        return False
    stack = torch.stack([part.double() for part in parts])
    ways = (stack, stack.sum(0), stack.mean(0), stack.sum(0, keepdim=True))
    mine, rtol, atol = together.double(), MAPPED.value, MAPPED_NEAR_ZERO.value
    return any(way.shape == mine.shape and torch.allclose(mine, way, rtol, atol, equal_nan=True) for way in ways)


def _outputs(context: Context, inputs: tuple[Any, ...], case: Case) -> list[torch.Tensor] | None:
    recording = context.record(Case(inputs, case.options, None, case.seed))
    return (
        None
        if isinstance(recording, Exception)
        else [o for o in recording.outputs if is_differentiable(o) and not o.is_complex()]
    )


def slices_at_constants(context: Context, case: Case) -> bool:
    """Whether the forward slices an axis of another size at the same indices, as the four components of a quaternion."""
    pairs = {
        (a, b)
        for v, w in zip(context.case.inputs, case.inputs, strict=True) if isinstance(v, torch.Tensor) and v.ndim == w.ndim
        for a, b in zip(v.shape, w.shape, strict=True) if a != b
    }  # fmt: skip
    if not pairs:
        return False
    before, after = _slices_taken(context, context.case.inputs, case), _slices_taken(context, case.inputs, case)
    for a, b in pairs:
        mine = {taken[1:] for taken in before if taken[0] == a}
        within = [
            taken for taken in mine if (taken[0] == "slice" and taken[2] < a) or (taken[0] == "select" and 0 < taken[1] < a)
        ]
        # a slice that reaches the end of a shorter axis is not recorded
        expected = {(kind, min(start, b), stop) for kind, start, stop in mine if kind == "select" or start or stop < b}
        found = {taken[1:] for taken in after if taken[0] == b}
        shared = any(other == b and size != a for size, other in pairs)  # another axis has the same new size
        if within and (expected == found or (shared and expected <= found)):
            return True
    return False


def parts_unevenly(context: Context, case: Case) -> bool:
    """Whether the forward takes an axis apart into equal parts in the user's call and into unequal ones here.

    So a rotary embedding halves an axis of an odd size, and means nothing by that. Not where it takes the same parts as before
    and what is left over by itself: then it says what becomes of the rest.
    """
    axes = {
        (a, b)
        for v, w in zip(context.case.inputs, case.inputs, strict=True) if isinstance(v, torch.Tensor)
        for a, b in zip(reversed(v.shape), reversed(w.shape), strict=False) if a != b  # a new axis is a leading one
    }  # fmt: skip
    if not axes:
        return False
    before, after = _slices_taken(context, context.case.inputs, case), _slices_taken(context, case.inputs, case)
    return any(_is_parted_anew(_partitions(before, a), _partitions(after, b)) for a, b in axes)


def _is_parted_anew(before: list[list[Part]], after: list[list[Part]]) -> bool:
    uneven = [parts for parts in after if not _is_even(parts)]
    even = [parts for parts in before if _is_even(parts)]
    return bool(even) and any(parts[:-1] not in even for parts in uneven)


def _is_even(parts: list[Part]) -> bool:
    return len({stop - start for start, stop in parts}) == 1


def _partitions(taken: list[Slice], size: int) -> list[list[Part]]:
    """The ways in which slices that follow one another take an axis of a size apart, to its end."""
    parts = {(start, min(stop, size)) for length, kind, start, stop in taken if length == size and kind == "slice"}
    found = [[(0, 0), (0, size)]] if (0, 0) in parts else []
    chains = [[part] for part in parts if part[0] == 0 and part[1] < size]
    while chains:
        chain = chains.pop()
        if chain[-1][1] == size:
            found.append(chain)
        elif len(chain) <= RELATED_PARTS.value:
            chains += [[*chain, part] for part in parts if part[0] == chain[-1][1] and part[1] > part[0]]
    return found


def _slices_taken(context: Context, inputs: tuple[Any, ...], case: Case) -> list[Slice]:
    recorder = _OperationRecorder()
    with recorder:
        context.record(Case(inputs, case.options, None, case.seed))
    return recorder.slices


def operation_count(context: Context, inputs: tuple[Any, ...], case: Case) -> tuple[int, int]:
    """Count the torch operations of forward and backward, which grow with an axis that they loop over.

    Of code that autograd cannot follow the lines count too: it may call no operation of torch. Returns the count and the number
    of elements of the largest result.
    """
    recorder, lines = _OperationRecorder(), Lines()
    with recorder, nullcontext() if context.uses_autograd else lines.counted():
        recording = context.record(Case(inputs, case.options, None, case.seed))
        if not isinstance(recording, Exception):
            context.backward(recording, tuple(torch.ones_like(o) for o in recording.outputs), case.seed)
    return recorder.count + lines.count, recorder.largest


class _OperationRecorder(DispatchMode):
    """Counts torch operations, and records each slice and select: the size of the axis, the operation, start and stop."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.largest, self.slices = 0, 0, list[Slice]()

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.count += 1
        name = func.overloadpacket.__name__
        if name in ("slice", "select") and isinstance(args[0], torch.Tensor) and len(args) > 1:
            size = args[0].shape[args[1]]
            start = int(args[2]) if len(args) > 2 and args[2] is not None else 0
            start = start + size if start < 0 else start
            stop = int(args[3]) if name == "slice" and len(args) > 3 and args[3] is not None else END_OF_AN_AXIS.value
            if start or stop < size:
                self.slices.append((size, name, min(start, size), stop if stop < size else END_OF_AN_AXIS.value))
        result = func(*args, **kwargs)
        if name.startswith("split") and isinstance(args[0], torch.Tensor):
            self._add_parts(args[0], result)
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result

    def _add_parts(self, whole: torch.Tensor, parts: Any) -> None:
        """Record the parts that an axis was split into as the slices that they are."""
        axes = [k for k in range(whole.ndim) if any(part.shape[k] != whole.shape[k] for part in parts)]
        for axis in axes[:1]:
            start, size = 0, whole.shape[axis]
            for part in parts:
                stop = start + part.shape[axis]
                self.slices.append((size, "slice", start, stop if stop < size else END_OF_AN_AXIS.value))
                start = stop
