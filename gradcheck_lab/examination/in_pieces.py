"""A large call compared in pieces of bounded memory, where it treats rows apart: the oracle runs on a few rows at a time.

Whether it does is seen, not assumed: the forward of each piece has to give what the whole forward gave there, and the oracle's
gradient of each piece has to be the hand-written one of the whole. A backward that is wrong across rows differs from that in
some piece, whose borders no kernel knows. Pieces can only pass: whatever they do not settle is examined whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.comparison.compared import Comparison, result_of
from gradcheck_lab.comparison.findings import convention_message
from gradcheck_lab.comparison.numbers import judge_by_references
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.examination.examined import AutogradTruth, Examined, ManualRun, PiecewiseTruth
from gradcheck_lab.model.limits import LARGE_ELEMENTS, PIECE_ELEMENTS
from gradcheck_lab.model.precision import is_narrow, is_wide
from gradcheck_lab.model.precision.fits import SOUND_ROUNDINGS, SOUND_ROUNDINGS_16_BITS
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.subjects.subject import Key

Total = Literal["", "sum", "mean"]
Compare = Callable[[Examined, AutogradTruth], Examined]


@dataclass(frozen=True, slots=True)
class Division:
    """How a call is cut: along `axis` of the outputs and of the `divided` inputs, `rows` of its `length` at a time.

    The gradients of the inputs that are `shared` by all rows are sums over the pieces. With `total`, the output is one number,
    the sum or the mean of what it is for the pieces.
    """

    axis: int
    length: int
    rows: int
    divided: frozenset[int]
    shared: frozenset[int] = frozenset()
    total: Total = ""

    def share(self, rows: slice) -> float:
        """What the output of a piece counts in that of the whole."""
        return (rows.stop - rows.start) / self.length if self.total == "mean" else 1.0

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
        alone = None if first is None or not _runs(first, division) else examine(first.case)
        if alone is None or not isinstance(alone.truth, AutogradTruth) or not _is_settled(alone):
            continue
        compared = Pieces(examined, run, division, compare).passed()
        if compared is not None:
            truth = PiecewiseTruth(alone.truth.name, alone)
            return replace(examined, truth=truth, run=replace(run, outputs=())).with_comparisons(compared)
    return None


def _may_be_cut(examined: Examined) -> bool:
    subject, run = examined.subject, examined.run
    plain = subject.trace is not None and not subject.is_program and not examined.policy.has_reference
    unchanged = examined.oracle.runner is examined.runner and not examined.oracle.copies  # drew nothing, wrote nothing
    takes = run is not None and run.refusal is None and run.takes_upstream
    return plain and unchanged and takes and not examined.findings


def _divisions(case: Case, run: ManualRun) -> Iterator[Division]:
    """Ways to cut a call: along each axis of the output, the longest first, with all inputs that have it; or of the inputs."""
    tensors = {i: v for i, v in enumerate(case.inputs) if isinstance(v, torch.Tensor)}
    wanted = {i for i, g in enumerate(run.returned) if g is not None and i in tensors}
    outputs = [o.shape for o in run.outputs]
    ways: list[tuple[int, int, Total]]
    if all(o.numel() == 1 for o in run.outputs):
        longest = max(tensors.values(), key=torch.numel).shape
        totals: tuple[Total, ...] = ("mean", "sum")
        ways, ndim = [(0, longest[0], total) for total in totals], 1
    else:
        longest_first = sorted(enumerate(outputs[0]), key=lambda each: -each[1])
        ways = [(k, n, "") for k, n in longest_first if all(len(o) > k and o[k] == n for o in outputs)]
        ndim = len(outputs[0])
    for axis, length, total in ways:
        rows = PIECE_ELEMENTS.value * length // max(v.numel() for v in (*tensors.values(), *run.outputs))
        rows -= 1 - rows % 2  # an odd number, as no kernel has it
        divided = frozenset(i for i, v in tensors.items() if v.ndim >= max(ndim, axis + 1) and v.shape[axis] == length)
        shared = frozenset(wanted - divided)
        if any(is_wide(tensors[i].dtype) for i in shared):  # whole, such a sum is exact and nothing is widened
            continue
        if 0 < rows < length and divided and all(tensors[i].numel() <= LARGE_ELEMENTS.value for i in shared):
            yield Division(axis, length, rows, divided, shared, total)


class Pieces:
    """The pieces of one call, compared one after the other."""

    def __init__(self, examined: Examined, run: ManualRun, division: Division, compare: Compare) -> None:
        self.examined, self.run, self.division, self.compare = examined, run, division, compare

    def passed(self) -> list[Comparison] | None:
        """The comparisons of the whole call, put together of those of its pieces; None unless all of them pass."""
        merged: dict[str, Comparison] = {}
        sums: dict[int, torch.Tensor] = {}
        outputs = [0.0 * o.double() for o in self.run.outputs] if self.division.total else []
        for rows in self.division.pieces():
            piece = _piece(self.examined, self.run, self.division, rows)
            found = None if piece is None else _compared(piece, self.division, self.compare)
            if piece is None or found is None or not _is_settled(found):
                return None
            truth = piece.oracle.truth()
            _add(sums, truth, self.division.shared)
            outputs = [o + self.division.share(rows) * t.detach() for o, t in zip(outputs, truth.outputs, strict=False)]
            for comparison in found.comparisons:
                name = comparison.result.name
                moved = _moved(comparison, self.division, rows.start)
                merged[name] = moved if name not in merged else _worse(merged[name], moved)
        if outputs and not _same_forward(self.run.outputs, outputs):
            return None
        of_shared = [self._compared_sum(i, total) for i, total in sums.items()]
        if any(comparison is None for comparison in of_shared):
            return None
        return [*(_of_whole(c, self.examined) for c in merged.values()), *(c for c in of_shared if c is not None)]

    def _compared_sum(self, index: int, total: torch.Tensor) -> Comparison | None:
        """The gradient of an input that all rows share, compared with the sum of those of the pieces; None unless it passes."""
        subject, value = self.examined.subject, self.examined.case.inputs[index]
        slot = Slot(subject.names[index], subject.labels[index], tuple(value.shape), value.dtype, value.device)
        found: Comparison | None = None
        for each in (self.run.delivered, self.run.returned):
            gradient = None if each is None else each[index]
            if each is not None and gradient is None:
                return None
            if gradient is not None:
                judged, level, _ = judge_by_references(slot, gradient, total, partial(self._native, index, value.dtype))
                if not judged.passed:
                    return None
                found = Comparison(result_of(slot, judged, gradient, total, "pass", level), (), judged.sensitivity)
        return found

    def _native(self, index: int, dtype: torch.dtype, level: str) -> list[torch.Tensor]:
        """References for the gradient of an input that all rows share: autograd on the whole call, in its own dtype.

        Simulated ones, for which every piece would be run again and again, cost more than the whole call in float64 does.
        """
        if level != "native" or is_wide(dtype):
            return []
        whole = AutogradOracle(self.examined.oracle.runner, self.examined.case)
        found = [each.gradients.get(Key("input", index)) for each in whole.references("native", dtype)]
        return [gradient.detach() for gradient in found if gradient is not None]


def _add(sums: dict[int, torch.Tensor], truth: Pass, shared: frozenset[int]) -> None:
    for i in shared:
        gradient = truth.gradients.get(Key("input", i))
        if gradient is not None:
            sums[i] = sums[i] + gradient.detach() if i in sums else gradient.detach()


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
    upstream = [g * division.share(rows) for g in case.grad_outputs or ()] if division.total else cut(case.grad_outputs or ())
    small = replace(case, inputs=cut(case.inputs, division.divided), grad_outputs=tuple(upstream))
    delivered = None if run.delivered is None else cut(run.delivered, division.divided)
    outputs = run.outputs if division.total else cut(run.outputs)
    own = replace(run, returned=cut(run.returned, division.divided), delivered=delivered, outputs=outputs)
    return replace(examined, case=small, run=own, oracle=AutogradOracle(examined.oracle.runner, small))


def _runs(piece: Examined, division: Division) -> bool:
    """Whether the forward takes a piece, in float64 too, and gives what the whole forward gave there."""
    assert piece.run is not None
    try:
        truth = piece.oracle.truth()
    except Exception:  # the forward takes no such piece
        return False
    same = bool(division.total) or _same_forward(piece.run.outputs, truth.outputs)
    return truth.tracked and not truth.truth_roundoff and same


def _compared(piece: Examined, division: Division, compare: Compare) -> Examined | None:
    """The comparison of a piece but for the inputs that all rows share; None where its forward is not that of the whole."""
    if not _runs(piece, division):
        return None
    runner = piece.runner
    subject = replace(runner.subject, constants=runner.subject.constants | division.shared)
    own = replace(piece, runner=replace(runner, subject=subject))
    return compare(own, AutogradTruth(piece.oracle, piece.oracle.truth(), ""))


def _same_forward(outputs: Sequence[torch.Tensor], expected: Sequence[Any]) -> bool:
    if len(outputs) != len(expected):
        return False
    for mine, wide in zip(outputs, expected, strict=True):
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
