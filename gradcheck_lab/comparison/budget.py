"""The error budget: how far a sound gradient may be from the truth, judged in blocks of bounded memory.

The truth is float64 autograd on the inputs as rounded to the dtype under test; `references` are gradients that a sound
implementation in that dtype produced (native autograd, float32 inside, simulated rounding). With u the unit roundoff, e_r the
error of reference r, and a slice all elements that share one index of one axis, a gradient g of truth g* passes when

    |g - g*| <= 3 min over axes (max over the slice of |e_r|) + 2u |g*| + smallest subnormal      for every element
    rms(g - g*) <= 3 max_r rms(e_r) + 2u rms(g*) + smallest subnormal                              for every slice
    |alpha| <= 3 max_r |alpha_r| + 2u + 4 max_r rms(e_r) / (rms(g*) sqrt(N)),  alpha = <g - g*, g*> / <g*, g*>

The rounding of terms as large as the result always counts as one e_r: 16u times the rms of the slice, u in 16 bits, where
sound implementations accumulate in float32 and round once. Sixteen is what an algebraically rewritten formula such as
y (1 - y) loses; it is still 1e5 times less than a cast to float32 leaves in float64. These numbers stand in
`model/precision/budget.py`, each with its reason and the planted pair that fixes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from gradcheck_lab.comparison.blocks import Index, along, blocks, locate, over_others, spread_out
from gradcheck_lab.model.limits import SLICES_OF_AN_AXIS
from gradcheck_lab.model.precision import is_narrow, unit_roundoff
from gradcheck_lab.model.precision.budget import (
    OWN_ROUNDINGS,
    REFERENCE_ERRORS,
    SCALE_DEVIATIONS,
    SLICE_ROUNDINGS,
    SLICE_ROUNDINGS_16_BITS,
)

Rule = Literal["element", "slice", "scale", "finite"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome for one gradient; errors are absolute, `budget_used` is error / allowed, over 1 when wrong."""

    passed: bool
    rule: Rule
    max_abs_error: float
    max_rel_error: float
    worst_index: tuple[int, ...] | None
    allowed: float
    budget_used: float
    wrong_elements: int
    elements: int
    unjudged: int
    sensitivity: float | None


def judge(
    actual: torch.Tensor,
    truth: torch.Tensor,
    dtype: torch.dtype,
    references: Sequence[torch.Tensor] = (),
    roundings: float | None = None,
    slack: float = 0.0,
    whole: bool = True,
) -> Judgement:
    """Hold `actual` against `truth`, tensors of one shape, at the precision of `dtype`.

    `references` are gradients of the same shape whose error is known to be sound; `roundings`, in units of u, is what counts
    as rounding at the size of a slice; `slack` is how far the truth itself may be off in any element. Returns a
    `Judgement`, of the first wrong block alone unless `whole`.
    Memory beyond the arguments is a few blocks of half a MiB and one number per slice, whatever the size.

    >>> judge(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]).double(), torch.float32).wrong_elements
    1
    """
    if roundings is None:
        roundings = (SLICE_ROUNDINGS_16_BITS if is_narrow(dtype) else SLICE_ROUNDINGS).value
    if truth.is_complex():
        real = torch.view_as_real
        parts = [real(r.resolve_conj()) for r in references]
        found = _judge(real(actual.resolve_conj()), real(truth.resolve_conj()), dtype, parts, roundings, slack, whole)
        index = found.worst_index[:-1] if found.worst_index is not None else None
        return replace(found, worst_index=index, elements=truth.numel())
    return _judge(actual, truth, dtype, references, roundings, slack, whole)


def _judge(
    actual: torch.Tensor,
    truth: torch.Tensor,
    dtype: torch.dtype,
    references: Sequence[torch.Tensor],
    roundings: float,
    slack: float,
    whole: bool,
) -> Judgement:
    u, limits = unit_roundoff(dtype), torch.finfo(dtype)
    c, own = REFERENCE_ERRORS.value, OWN_ROUNDINGS.value * u
    rounding = roundings * u
    tiny = float(limits.smallest_normal) * float(limits.eps) + slack
    if not references:
        within = _within_rounding(actual, truth, own, tiny, c * rounding + own)
        if within is not None:
            return within
    slices = _Slices(truth.shape, truth.device)
    for index in blocks(truth.shape):
        slices.add(index, *_block(actual, truth, index, references)[:3])
    slices.finish(rounding)
    worst = _Worst(float(limits.max))
    for index in blocks(truth.shape):
        error, value, _, finite = _block(actual, truth, index, ())
        worst.see(index, error, value, c * slices.spread(index) + own * value.abs() + tiny)
        if not finite:
            worst.see_broken(index, actual[index], truth[index])
        if worst.wrong and not whole:
            break
    return worst.judgement(slices, own, rounding, tiny)


def _within_rounding(
    actual: torch.Tensor, truth: torch.Tensor, own: float, tiny: float, sensitivity: float
) -> Judgement | None:
    """Settle a gradient whose every element is within 2u of the truth, which implies the other rules; None when not."""
    worst, largest, place = 0.0, 0.0, None
    if actual.dtype != truth.dtype or not torch.equal(actual, truth):
        for index in blocks(truth.shape):
            value = truth[index].double()
            error = (actual[index].to(value) - value).abs_()
            if not error.numel():
                continue
            ratio = error / value.abs().mul_(own).add_(tiny)
            used, position = ratio.reshape(-1).max(0)
            if not float(used) <= 1:
                return None
            largest = max(largest, float(error.max()))
            if float(used) > worst:
                worst, place = float(used), locate(index, int(position), error.shape)
    allowed = 0.0 if place is None else own * abs(float(truth[place])) + tiny
    count = truth.numel()
    return Judgement(True, "element", largest, own * worst, place, allowed, worst, 0, count, 0, sensitivity)


class _Slices:
    """Per axis and index: the largest reference error, and the sums of squares of error, truth and reference errors."""

    def __init__(self, shape: torch.Size, device: torch.device) -> None:
        # a vector is one slice: its single elements are too few to take a maximum or a mean over
        self.axes = range(len(shape)) if len(shape) > 1 else range(0)
        self.shape = shape
        sizes = [shape[axis] for axis in self.axes] or [1]
        # of a very long axis, neighbours share a slice, so that memory stays bounded
        self.widths = [-(-n // SLICES_OF_AN_AXIS.value) or 1 for n in sizes]
        lengths = [-(-n // width) for n, width in zip(sizes, self.widths, strict=True)]
        self.peak = [torch.zeros(n, dtype=torch.float64, device=device) for n in lengths]
        self.error = [torch.zeros(n, dtype=torch.float64, device=device) for n in lengths]
        self.value = [torch.zeros(n, dtype=torch.float64, device=device) for n in lengths]
        self.reference: list[list[torch.Tensor]] = []
        self.counts = [
            self._counts(n, length, width, device) for n, length, width in zip(sizes, lengths, self.widths, strict=True)
        ]
        self.dot = self.square = 0.0
        self.reference_dots: list[float] = []

    def _counts(self, n: int, length: int, width: int, device: torch.device) -> torch.Tensor:
        """How many elements each slice has; the last of a long axis may have fewer."""
        counts = torch.full((length,), max(1, width * (self.shape.numel() // max(1, n))), dtype=torch.float64, device=device)
        if n % width:
            counts[-1] *= n % width / width
        return counts

    def _rows(self, k: int, index: Index) -> slice | torch.Tensor:
        """Which slices along the k-th axis a block covers."""
        at = along(index, self.axes[k] if self.axes else None)
        if self.widths[k] == 1:
            return at
        start, stop, _ = at.indices(self.shape[self.axes[k]])
        return torch.arange(start, stop, device=self.peak[k].device) // self.widths[k]

    def add(self, index: Index, error: torch.Tensor, value: torch.Tensor, errors: list[torch.Tensor]) -> None:
        if not self.reference and errors:
            self.reference = [[torch.zeros_like(part) for part in self.error] for _ in errors]
            self.reference_dots = [0.0] * len(errors)
        flat = value.reshape(-1)
        self.dot += float(torch.dot(error.reshape(-1), flat))
        self.square += float(torch.dot(flat, flat))
        for r, reference in enumerate(errors):
            self.reference_dots[r] += float(torch.dot(reference.reshape(-1), flat))
        squares = [part * part for part in (error, value, *errors)]
        sizes = [reference.abs() for reference in errors]
        for k, axis in enumerate(self.axes or (None,)):
            at = self._rows(k, index)
            totals = [self.error[k], self.value[k], *(row[k] for row in self.reference)]
            for total, square in zip(totals, squares, strict=True):
                part = over_others(square, axis, index, torch.sum)
                if isinstance(at, slice):
                    total[at] += part
                else:
                    total.index_add_(0, at, part)
            for size in sizes:
                top = over_others(size, axis, index, torch.amax)
                if isinstance(at, slice):
                    self.peak[k][at] = torch.maximum(self.peak[k][at], top)
                else:
                    self.peak[k].scatter_reduce_(0, at, top, "amax")

    def finish(self, rounding: float) -> None:
        """Turn sums into root mean squares, and let rounding at the slice's size count as a reference."""
        for row in (self.error, self.value, *self.reference):
            for total, count in zip(row, self.counts, strict=True):
                total.div_(count).sqrt_()
        self.peak = [torch.maximum(p, rounding * v) for p, v in zip(self.peak, self.value, strict=True)]

    def spread(self, index: Index) -> torch.Tensor:
        """For each element of a block, the smallest over the axes of its slice's largest reference error."""
        return spread_out([peak[self._rows(k, index)] for k, peak in enumerate(self.peak)], index, self.axes)

    def slice_use(self, own: float, rounding: float, tiny: float) -> float:
        """The largest rms(error) / allowed over all slices."""
        used = 0.0
        for k, error in enumerate(self.error):
            reference = torch.stack([rounding * self.value[k], *(row[k] for row in self.reference)]).amax(0)
            ratio = error / (REFERENCE_ERRORS.value * reference + own * self.value[k] + tiny)
            used = max(used, float(ratio.max()) if ratio.numel() else 0.0)
        return used

    def scale_use(self, own: float, rounding: float, tiny: float) -> float:
        """|alpha| / allowed; zero where the truth is zero."""
        if self.square == 0.0 or not math.isfinite(self.square):
            return 0.0
        count = max(1, self.shape.numel())
        rms = math.sqrt(self.square / count)
        spread = [math.sqrt(float((row[0].square() * self.counts[0]).sum()) / count) for row in self.reference]
        largest = max([rounding * rms, *spread])
        alphas = [abs(dot) / self.square for dot in self.reference_dots]
        chance = SCALE_DEVIATIONS.value * largest / (rms * math.sqrt(count))
        allowed = REFERENCE_ERRORS.value * max([0.0, *alphas]) + own + chance + tiny / rms
        return abs(self.dot) / self.square / allowed

    def sensitivity(self, own: float, tiny: float) -> float | None:
        """The largest allowance over the rms of its slice: what an error in one element has to exceed to be caught."""
        found = [
            float(((REFERENCE_ERRORS.value * p + tiny) / v)[v > 0].max())
            for p, v in zip(self.peak, self.value, strict=True)
            if bool((v > 0).any())
        ]
        return max(found) + own if found else None


class _Worst:
    """What stands out over all blocks."""

    def __init__(self, largest_number: float) -> None:
        self.largest_number = largest_number
        self.ratio = self.absolute = self.relative = self.allowed = 0.0
        self.index: tuple[int, ...] | None = None
        self.broken_index: tuple[int, ...] | None = None
        self.wrong = self.broken = self.count = self.unjudged = 0

    def see(self, index: Index, error: torch.Tensor, value: torch.Tensor, allowed: torch.Tensor) -> None:
        self.count += error.numel()
        if not error.numel():
            return
        size = error.abs()
        ratio = size / allowed
        used, position = ratio.reshape(-1).max(0)
        if float(used) > 1:
            self.wrong += int((ratio > 1).sum())
        if self.index is None or float(used) > self.ratio:
            self.ratio = float(used)
            self.index = locate(index, int(position), error.shape)
            self.allowed = float(allowed.expand(error.shape).reshape(-1)[position])
        self.absolute = max(self.absolute, float(size.max()))
        self.relative = max(self.relative, float(torch.nan_to_num(size / value.abs(), 0.0, math.inf).max()))

    def see_broken(self, index: Index, actual: torch.Tensor, truth: torch.Tensor) -> None:
        finite = torch.isfinite(truth)
        broken = ~torch.isfinite(actual) & finite & (truth.abs() <= self.largest_number)
        self.unjudged += int((~finite | (~torch.isfinite(actual) & ~broken)).sum())
        if bool(broken.any()):
            self.broken += int(broken.sum())
            if self.broken_index is None:
                self.broken_index = locate(index, int(broken.reshape(-1).int().argmax()), broken.shape)

    def judgement(self, slices: _Slices, own: float, rounding: float, tiny: float) -> Judgement:
        if self.broken:
            wrong, index, inf = self.wrong + self.broken, self.broken_index, math.inf
            return Judgement(False, "finite", inf, inf, index, self.allowed, inf, wrong, self.count, self.unjudged, None)
        uses: dict[Rule, float] = {
            "element": self.ratio,
            "slice": slices.slice_use(own, rounding, tiny),
            "scale": slices.scale_use(own, rounding, tiny),
        }
        rule = max(uses, key=lambda name: uses[name]) if uses["element"] <= 1 else "element"
        return Judgement(
            uses[rule] <= 1,
            rule,
            self.absolute,
            self.relative,
            self.index,
            self.allowed,
            uses[rule],
            self.wrong,
            self.count,
            self.unjudged,
            slices.sensitivity(own, tiny),
        )


def _block(
    actual: torch.Tensor, truth: torch.Tensor, index: Index, references: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], bool]:
    """The errors and true values of one block, zero where either side is not finite; and whether all were finite."""
    value = truth[index].double()
    error = actual[index].to(value) - value
    errors = [r[index].to(value) - value for r in references]
    errors = [e if _finite(e) else torch.nan_to_num(e, 0.0, 0.0, 0.0) for e in errors]
    if _finite(error):
        return error, value, errors, True
    valid, zero = torch.isfinite(error), value.new_zeros(())
    errors = [torch.where(valid, e, zero) for e in errors]
    return torch.where(valid, error, zero), torch.where(valid, value, zero), errors, False


def _finite(value: torch.Tensor) -> bool:
    return math.isfinite(float(value.sum())) or bool(torch.isfinite(value).all())
