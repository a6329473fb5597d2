"""Whether a derived call is one that the user's call says is meant; a forward may accept others by accident."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.model.amounts import END_OF_AN_AXIS
from gradcheck_lab.model.limits import RELATED_PARTS
from gradcheck_lab.model.precision.derived_calls import MAPPED, MAPPED_NEAR_ZERO
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.torch_internals import DispatchMode

Relation = tuple[int, int, int]
Cut = tuple[int, str, int, int]


def meant(context: Context, case: Case, outputs: tuple[torch.Tensor, ...]) -> bool:
    """Whether other sizes or ranks of the inputs are within what the call shows: its shapes, its rank, its constants."""
    return follows(context, case, outputs) and maps(context, case) and not cuts_by_constants(context, case)


def follows(context: Context, case: Case, outputs: tuple[torch.Tensor, ...]) -> bool:
    """Whether an output that has the shape of an input on the user's call, or a part or multiple of it, has so here too."""
    given = context.case.inputs
    for before, after in zip(context.case.grad_outputs or (), outputs, strict=False):
        related = {i: found for i, v in enumerate(given) if isinstance(v, torch.Tensor) and (found := _relation(v, before))}
        if related and all(_relation(case.inputs[i], after, found) is None for i, found in related.items()):
            return False
    return True


def _relation(value: torch.Tensor, output: torch.Tensor, known: Relation | None = None) -> Relation | None:
    """The axis (from the end) along which an output is a part or a multiple of an input, all others equal, and the ratio.

    With `known`, that relation if it holds; None where there is none.
    """
    if not value.ndim or value.ndim != output.ndim:
        return None
    differ = [k - value.ndim for k, (a, b) in enumerate(zip(value.shape, output.shape, strict=True)) if a != b]
    if known is not None:
        axis, times, parts = known
        fits = value.shape[axis] * times == output.shape[axis] * parts and set(differ) <= {axis}
        return known if fits else None
    if not differ:
        return -1, 1, 1
    a, b = value.shape[differ[0]], output.shape[differ[0]]
    if len(differ) > 1 or not a or not b or max(a, b) % min(a, b) or max(a, b) // min(a, b) > RELATED_PARTS.value:
        return None
    return (differ[0], 1, a // b) if a > b else (differ[0], b // a, 1)


def maps(context: Context, case: Case) -> bool:
    """Whether a new leading dimension is one of independent calls: each output their stack, their sum or their mean.

    True where no dimension is new.
    """
    given = context.case.inputs
    new = [i for i, v in enumerate(case.inputs) if isinstance(v, torch.Tensor) and v.ndim == given[i].ndim + 1]
    if not new:
        return True
    count = case.inputs[new[0]].shape[0]
    whole = _outputs(context, case.inputs, case)
    parts = [_outputs(context, tuple(v[k] if i in new else v for i, v in enumerate(case.inputs)), case) for k in range(count)]
    if whole is None or None in parts:
        return False
    return all(_joined(mine, [part[k] for part in parts if part is not None]) for k, mine in enumerate(whole))


def _joined(whole: torch.Tensor, parts: list[torch.Tensor]) -> bool:
    if any(part.shape != parts[0].shape for part in parts):
        return False
    stack = torch.stack([part.double() for part in parts])
    ways = (stack, stack.sum(0), stack.mean(0), stack.sum(0, keepdim=True))
    mine, rtol, atol = whole.double(), MAPPED.value, MAPPED_NEAR_ZERO.value
    return any(way.shape == mine.shape and torch.allclose(mine, way, rtol, atol, equal_nan=True) for way in ways)


def _outputs(context: Context, inputs: tuple[Any, ...], case: Case) -> list[torch.Tensor] | None:
    recording = context.record(Case(inputs, case.options, None, case.seed))
    return (
        None
        if isinstance(recording, Exception)
        else [o for o in recording.outputs if is_differentiable(o) and not o.is_complex()]
    )


def cuts_by_constants(context: Context, case: Case) -> bool:
    """Whether the forward cuts an axis that changed its size at the same places: a box, a quaternion, a pixel of three."""
    pairs = {
        (a, b)
        for v, w in zip(context.case.inputs, case.inputs, strict=True) if isinstance(v, torch.Tensor) and v.ndim == w.ndim
        for a, b in zip(v.shape, w.shape, strict=True) if a != b
    }  # fmt: skip
    if not pairs:
        return False
    before, after = _cuts(context, context.case.inputs, case), _cuts(context, case.inputs, case)
    for a, b in pairs:
        mine = {cut[1:] for cut in before if cut[0] == a}
        within = [cut for cut in mine if (cut[0] == "slice" and cut[2] < a) or (cut[0] == "select" and 0 < cut[1] < a)]
        # a slice to the end of a shorter axis is no cut of it
        there = {(kind, min(start, b), stop) for kind, start, stop in mine if kind == "select" or start or stop < b}
        found = {cut[1:] for cut in after if cut[0] == b}
        shared = any(other == b and size != a for size, other in pairs)  # axes of other sizes are as long now
        if within and (there == found or (shared and there <= found)):
            return True
    return False


def _cuts(context: Context, inputs: tuple[Any, ...], case: Case) -> list[Cut]:
    watch = _Watch()
    with watch:
        context.record(Case(inputs, case.options, None, case.seed))
    return watch.cuts


def work(context: Context, inputs: tuple[Any, ...], case: Case) -> tuple[int, int]:
    """How many operations forward and backward take, more for an axis that they loop over; the largest result's elements."""
    watch = _Watch()
    with watch:
        recording = context.record(Case(inputs, case.options, None, case.seed))
        if not isinstance(recording, Exception):
            context.backward(recording, tuple(torch.ones_like(o) for o in recording.outputs), case.seed)
    return watch.count, watch.largest


class _Watch(DispatchMode):
    """Counts operations and notes the slices and selects of a forward: the size of the axis, and where it is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.largest, self.cuts = 0, 0, list[Cut]()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += 1
        name = func.overloadpacket.__name__
        if name in ("slice", "select") and isinstance(args[0], torch.Tensor) and len(args) > 1:
            size = args[0].shape[args[1]]
            start = int(args[2]) if len(args) > 2 and args[2] is not None else 0
            start = start + size if start < 0 else start
            stop = int(args[3]) if name == "slice" and len(args) > 3 and args[3] is not None else END_OF_AN_AXIS.value
            if start or stop < size:
                self.cuts.append((size, name, min(start, size), stop if stop < size else END_OF_AN_AXIS.value))
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result
