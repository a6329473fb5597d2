"""A large call compared in pieces of bounded memory, where it treats rows apart: the oracle runs on a few rows at a time.

Whether it does is seen, not assumed: the forward of each piece has to give what the whole forward gave there, and the oracle's
gradient of each piece has to be the hand-written one of the whole. A backward that is wrong across rows differs from that in
some piece, whose borders no kernel knows. Pieces can only pass: whatever they do not settle is examined whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.comparison.findings import convention_message
from gradcheck_lab.comparison.gradient import Comparison
from gradcheck_lab.examination.examined import AutogradTruth, Examined, ManualRun, PiecewiseTruth
from gradcheck_lab.model.limits import LARGE_ELEMENTS, PIECE_ELEMENTS
from gradcheck_lab.model.precision import is_narrow
from gradcheck_lab.model.precision.fits import SOUND_ROUNDINGS, SOUND_ROUNDINGS_16_BITS
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass

Compare = Callable[[Examined, AutogradTruth], Examined]


@dataclass(frozen=True, slots=True)
class Division:
    """How a call is cut: along `axis` of the outputs and of the `divided` inputs, `rows` of its `length` at a time."""

    axis: int
    length: int
    rows: int
    divided: frozenset[int]

    def pieces(self) -> Iterator[slice]:
        """The rows of each piece."""
        for start in range(0, self.length, self.rows):
            yield slice(start, min(start + self.rows, self.length))

    def cut(self, value: torch.Tensor, rows: slice) -> torch.Tensor:
        """The rows of a tensor, sharing its memory."""
        return value.narrow(self.axis, rows.start, rows.stop - rows.start)


def is_large(case: Case) -> bool:
    """Whether a call has so many elements that copies of it are counted."""
    return any(isinstance(v, torch.Tensor) and v.numel() > LARGE_ELEMENTS.value for v in case.inputs)


def passed_in_pieces(examined: Examined, compare: Compare, examine: Callable[[Case], Examined]) -> Examined | None:
    """The examination of a large call all of whose pieces pass; None where it is not large, or is to be examined whole.

    The first piece has to pass as a call of its own too, which `examine` makes, with all that an examination looks at.
    """
    run = examined.run
    if run is None or not run.outputs or not _may_be_cut(examined):
        return None
    for division in _divisions(examined.case, run):
        first = _piece(examined, run, division, next(division.pieces()))
        alone = None if first is None or _compared(first, compare) is None else examine(first.case)
        if alone is None or not isinstance(alone.truth, AutogradTruth) or not _is_settled(alone):
            continue
        compared = _passed(examined, run, division, compare)
        if compared is not None:
            truth = PiecewiseTruth(alone.truth.name, alone)
            return replace(examined, truth=truth, run=replace(run, outputs=())).with_comparisons(compared)
    return None


def _may_be_cut(examined: Examined) -> bool:
    subject, run = examined.subject, examined.run
    plain = subject.trace is not None and not subject.is_program and not examined.policy.has_reference
    unchanged = examined.oracle.runner is examined.runner and not examined.oracle.copies  # drew nothing, wrote nothing
    return plain and unchanged and run is not None and run.refusal is None and not examined.findings


def _divisions(case: Case, run: ManualRun) -> Iterator[Division]:
    """Ways to cut a call: along each axis of the output, the longest first, with all inputs that have it."""
    shape = run.outputs[0].shape
    for axis in sorted(range(len(shape)), key=lambda k: -shape[k]):
        inner = max(1, max(v.numel() for v in (*case.inputs, *run.outputs) if isinstance(v, torch.Tensor)) // shape[axis])
        rows = PIECE_ELEMENTS.value // inner
        rows -= 1 - rows % 2  # an odd number, as no kernel has it
        if not 0 < rows < shape[axis]:
            continue
        own = {i for i, v in enumerate(case.inputs) if isinstance(v, torch.Tensor) and v.ndim == len(shape)}
        divided = frozenset(i for i in own if case.inputs[i].shape[axis] == shape[axis])
        wanted = {i for i, g in enumerate(run.returned) if g is not None}
        if wanted <= divided and all(o.ndim == len(shape) and o.shape[axis] == shape[axis] for o in run.outputs):
            yield Division(axis, shape[axis], rows, divided)


def _passed(examined: Examined, run: ManualRun, division: Division, compare: Compare) -> list[Comparison] | None:
    """The comparisons of the whole call, put together of those of its pieces; None unless all of them pass."""
    merged: dict[str, Comparison] = {}
    for rows in division.pieces():
        piece = _piece(examined, run, division, rows)
        found = None if piece is None else _compared(piece, compare)
        if found is None or not _is_settled(found):
            return None
        for comparison in found.comparisons:
            name = comparison.result.name
            moved = _moved(comparison, division, rows.start)
            merged[name] = moved if name not in merged else _worse(merged[name], moved)
    return [_of_whole(comparison, examined) for comparison in merged.values()]


def _piece(examined: Examined, run: ManualRun, division: Division, rows: slice) -> Examined | None:
    """The examination of a piece before its comparison, with what the whole backward returned there."""
    case = examined.case

    def cut(values: Sequence[Any], only: frozenset[int] | None = None) -> tuple[Any, ...]:
        chosen = [isinstance(v, torch.Tensor) and (only is None or i in only) for i, v in enumerate(values)]
        return tuple(division.cut(v, rows).detach().clone() if c else v for v, c in zip(values, chosen, strict=True))

    fits = all(
        g is None or (isinstance(g, torch.Tensor) and g.layout == torch.strided and g.shape == v.shape and g.dtype == v.dtype)
        for each in (run.returned, run.delivered or ())
        for g, v in zip(each, case.inputs, strict=bool(each))
    )
    if not fits:
        return None
    small = replace(case, inputs=cut(case.inputs, division.divided), grad_outputs=cut(case.grad_outputs or ()))
    delivered = None if run.delivered is None else cut(run.delivered)
    own = replace(run, returned=cut(run.returned), delivered=delivered, outputs=cut(run.outputs))
    return replace(examined, case=small, run=own, oracle=AutogradOracle(examined.oracle.runner, small))


def _compared(piece: Examined, compare: Compare) -> Examined | None:
    """The comparison of a piece; None where its forward is not that of the whole there."""
    assert piece.run is not None
    try:
        truth = piece.oracle.truth()
    except Exception:  # the forward takes no such piece
        return None
    if not truth.tracked or truth.truth_roundoff or not _same_forward(piece.run.outputs, truth):
        return None
    return compare(piece, AutogradTruth(piece.oracle, truth, ""))


def _same_forward(outputs: Sequence[torch.Tensor], truth: Pass) -> bool:
    if len(outputs) != len(truth.outputs):
        return False
    for mine, wide in zip(outputs, truth.outputs, strict=True):
        if not isinstance(wide, torch.Tensor) or mine.shape != wide.shape:
            return False
        if not is_differentiable(mine):
            if not torch.equal(mine, wide):
                return False
            continue
        roundings = (SOUND_ROUNDINGS_16_BITS if is_narrow(mine.dtype) else SOUND_ROUNDINGS).value
        if not judge(mine, wide.detach(), mine.dtype, roundings=roundings, all_blocks=False).passed:
            return False
    return True


def _is_settled(found: Examined) -> bool:
    """Whether every gradient of a piece passed and no more is to be said of it than that it follows another convention."""
    results, conventions = [c.result for c in found.comparisons], sum(c.kinks > 0 for c in found.comparisons)
    said = [f for f in found.findings if f.cause != "convention"]
    return found.passed and not said and len(found.findings) == conventions and all(r.reason is None for r in results)


def _moved(comparison: Comparison, division: Division, start: int) -> Comparison:
    """The comparison of a piece with its worst index in the whole."""
    at = comparison.result.worst_index
    if at is None:
        return comparison
    moved = (*at[: division.axis], at[division.axis] + start, *at[division.axis + 1 :])
    return replace(comparison, result=replace(comparison.result, worst_index=moved))


def _worse(a: Comparison, b: Comparison) -> Comparison:
    """The comparison of the piece that used more of its budget, with the largest errors of both."""
    worse, kinks = b if b.result.budget_used > a.result.budget_used else a, a.kinks + b.kinks
    known = [s for s in (a.sensitivity, b.sensitivity) if s is not None]
    result = replace(
        worse.result,
        max_abs_error=max(a.result.max_abs_error, b.result.max_abs_error),
        max_rel_error=max(a.result.max_rel_error, b.result.max_rel_error),
        elements=a.result.elements + b.result.elements,
    )
    if kinks:
        result = replace(result, settled_by="subgradient")
    return Comparison(result, a.findings or b.findings, max(known) if known else None, kinks)


def _of_whole(comparison: Comparison, examined: Examined) -> Comparison:
    index = examined.subject.names.index(comparison.result.name)
    shape = tuple(examined.case.inputs[index].shape)
    label = comparison.result.label
    notes = tuple(replace(f, message=convention_message(label, "autograd", comparison.kinks)) for f in comparison.findings)
    return replace(comparison, result=replace(comparison.result, shape=shape, elements=math.prod(shape)), findings=notes)
