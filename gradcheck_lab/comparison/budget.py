"""The error budget: how far a sound gradient may be from the truth, judged in blocks of bounded memory.

The truth is float64 autograd on the inputs as rounded to the dtype under test; `references` are gradients that a sound
implementation in that dtype produced (native autograd, float32 inside, simulated rounding). With u the unit roundoff, e_r the
error of reference r, and a slice all elements that share one index of one axis, where these are several, a gradient g of truth
g* passes when

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
from functools import reduce
from typing import Literal

import torch

from gradcheck_lab.comparison.blocks import Index, blocks, locate
from gradcheck_lab.comparison.slices import Slices, numbers
from gradcheck_lab.model.limits import BLOCK_ELEMENTS
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
    at_worst: tuple[float, float] | None = None  # the gradient and the truth there, where they are known


def judge(
    actual: torch.Tensor,
    truth: torch.Tensor,
    dtype: torch.dtype,
    references: Sequence[torch.Tensor] = (),
    roundings: float | None = None,
    truth_error: float = 0.0,
    all_blocks: bool = True,
    margin: float = 1.0,
) -> Judgement:
    """Hold `actual` against `truth`, tensors of one shape, at the precision of `dtype`.

    `references` are gradients of the same shape whose error is known to be sound; `roundings`, in units of u, is what counts
    as rounding at the size of a slice; `truth_error` is how far the truth itself may be off in any element; an error
    counts from `margin` times its budget on. Returns a `Judgement`, of the first wrong block alone unless `all_blocks`.
    Memory beyond the arguments is a few blocks of half a MiB and one number per slice, whatever the size.

    >>> judge(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]).double(), torch.float32).wrong_elements
    1
    """
    if roundings is None:
        roundings = (SLICE_ROUNDINGS_16_BITS if is_narrow(dtype) else SLICE_ROUNDINGS).value
    if truth.is_complex():
        real = torch.view_as_real
        parts = [real(r.resolve_conj()) for r in references]
        found = _judge(
            real(actual.resolve_conj()), real(truth.resolve_conj()), dtype, parts, roundings, truth_error, all_blocks, margin
        )
        index = found.worst_index[:-1] if found.worst_index is not None else None
        count = truth.numel()  # of elements, each of two parts
        return replace(
            found,
            worst_index=index,
            elements=count,
            wrong_elements=min(found.wrong_elements, count),
            unjudged=-(-found.unjudged // 2),
        )
    return _judge(actual, truth, dtype, references, roundings, truth_error, all_blocks, margin)


def passes(actual: torch.Tensor, truth: torch.Tensor, dtype: torch.dtype, roundings: float) -> bool:
    """Whether `judge` passes `actual`, where nothing else about it is asked; faster where one element alone decides.

    An element may be off by no more than the budget of the largest true value.

    >>> passes(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]).double(), torch.float32, 16)
    False
    """
    if truth.numel() and not truth.is_complex():
        largest = float(truth.abs().max())
        allowed = (REFERENCE_ERRORS.value * roundings + OWN_ROUNDINGS.value) * unit_roundoff(dtype) * largest
        error = float((actual.to(truth) - truth).abs().max())
        if math.isfinite(largest) and error > 2 * (allowed + torch.finfo(dtype).tiny):
            return False
    return judge(actual, truth, dtype, roundings=roundings, all_blocks=False).passed


def certainly_passes(actual: torch.Tensor, truth: torch.Tensor, dtype: torch.dtype, truth_error: float, margin: float) -> bool:
    """Whether `judge` passes `actual` without references, for finite tensors of one block; False says nothing.

    Each element may be off by what its slices allow, first of all by what the slice with the smallest true values does; errors
    within that are within what each slice as a whole may be off by. The scale is judged as ever.

    >>> certainly_passes(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]).double(), torch.float32, 0.0, 1.0)
    True
    """
    if truth.numel() > BLOCK_ELEMENTS.value or not truth.numel():
        return False
    if actual.dtype == truth.dtype and torch.equal(actual, truth):
        return True
    if truth.is_complex():
        actual, truth = torch.view_as_real(actual.resolve_conj()), torch.view_as_real(truth.resolve_conj())
    value = truth.double()
    error = actual.double() - value
    u, limits = unit_roundoff(dtype), torch.finfo(dtype)
    own, tiny = OWN_ROUNDINGS.value * u, limits.smallest_normal * limits.eps + truth_error
    excess = float((error.abs() - value.abs().mul_(margin * own)).max())
    if not excess > margin * tiny:
        return not math.isnan(excess)
    rounding = (SLICE_ROUNDINGS_16_BITS if is_narrow(dtype) else SLICE_ROUNDINGS).value * u
    square = value * value
    means = _slice_means(square)
    spread = REFERENCE_ERRORS.value * rounding
    smallest = min(float(mean.min()) for mean in means)
    if not excess <= margin * (spread * math.sqrt(smallest) + tiny):
        allowed = reduce(torch.minimum, means).sqrt().mul(spread).add(value.abs().mul_(own)).add_(tiny)
        if not bool((error.abs() <= margin * allowed).all()):
            return False
    dot, total = float((error * value).sum()), float(square.sum())
    return abs(dot) <= margin * total * (own + SCALE_DEVIATIONS.value * rounding / math.sqrt(value.numel()))


def used_of_each(
    actual: torch.Tensor,
    truth: torch.Tensor,
    dtype: torch.dtype,
    references: Sequence[torch.Tensor] = (),
    truth_error: float = 0.0,
) -> torch.Tensor:
    """What each element uses of its budget, error / allowed, as `judge` finds it; float64, inf where one side is not finite.

    >>> used_of_each(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]).double(), torch.float32) > 1
    tensor([False,  True])
    """
    if truth.is_complex():
        real = torch.view_as_real
        parts = [real(r.resolve_conj()) for r in references]
        used = used_of_each(real(actual.resolve_conj()), real(truth.resolve_conj()), dtype, parts, truth_error)
        return used.amax(-1)
    u, limits = unit_roundoff(dtype), torch.finfo(dtype)
    own, tiny = OWN_ROUNDINGS.value * u, float(limits.smallest_normal) * float(limits.eps) + truth_error
    error, value, errors, _ = _block(actual, truth, (), references)
    allowed = value.abs() * own + tiny
    if not bool((error.abs() <= allowed).all()):
        slices = Slices(truth.shape, truth.device)
        slices.add((), error, value, errors)
        slices.finish((SLICE_ROUNDINGS_16_BITS if is_narrow(dtype) else SLICE_ROUNDINGS).value * u)
        allowed = allowed + REFERENCE_ERRORS.value * slices.spread(())
    unlike = ~torch.isfinite(actual) & ~((actual == truth) | (actual.isnan() & truth.isnan()))
    return torch.where(unlike, torch.inf, error.abs() / allowed)


def look(actual: torch.Tensor, truth: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What the elements of one block, real ones, are off by at most: five numbers for `looked`, on their device."""
    own, tiny = _of_one_element(dtype)
    value = truth.double()
    mine = actual.to(value)
    error = (mine - value).abs_()
    used, position = (error / value.abs().mul_(own).add_(tiny)).reshape(-1).max(0)
    there = [each.reshape(-1).gather(0, position.reshape(1)).reshape(()) for each in (mine, value)]
    return torch.stack([used, position.double(), error.max(), *there])


def looked(
    truth: torch.Tensor, dtype: torch.dtype, margin: float, looks: Sequence[tuple[Index, Sequence[float]]]
) -> Judgement | None:
    """The judgement by a `look` at each block: every element is within `margin` times 2u of the truth; else None.

    >>> truth = torch.tensor([1.0, 2.0]).double()
    >>> looked(truth, torch.float32, 1.0, [((), look(truth.float(), truth, torch.float32).tolist())]).passed
    True
    """
    if not all(numbers[0] <= margin for _, numbers in looks):
        return None
    own, tiny = _of_one_element(dtype)
    index, (used, position, _, mine, value) = max(looks, key=lambda each: each[1][0])
    largest = max(numbers[2] for _, numbers in looks)
    sensitivity = REFERENCE_ERRORS.value * (SLICE_ROUNDINGS_16_BITS if is_narrow(dtype) else SLICE_ROUNDINGS).value
    sensitivity = sensitivity * unit_roundoff(dtype) + own
    if not used:
        return Judgement(True, "element", 0.0, 0.0, None, 0.0, 0.0, 0, truth.numel(), 0, sensitivity)
    place, allowed = locate(index, int(position), truth[index].shape), own * abs(value) + tiny
    return Judgement(
        True, "element", largest, own * used, place, allowed, used, 0, truth.numel(), 0, sensitivity, (mine, value)
    )


def _of_one_element(dtype: torch.dtype) -> tuple[float, float]:
    """What an element may always be off by: a share of its true value, and the smallest subnormal."""
    limits = torch.finfo(dtype)
    return OWN_ROUNDINGS.value * unit_roundoff(dtype), float(limits.smallest_normal) * float(limits.eps)


def _slice_means(square: torch.Tensor) -> list[torch.Tensor]:
    """The means over the slices of every axis, each with one element per slice; a vector is one slice."""
    axes = [axis for axis, n in enumerate(square.shape) if n < square.numel()]
    if not axes:
        return [square.mean()]
    return [square.mean([k for k in range(square.ndim) if k != axis], keepdim=True) for axis in axes]


def _judge(
    actual: torch.Tensor,
    truth: torch.Tensor,
    dtype: torch.dtype,
    references: Sequence[torch.Tensor],
    roundings: float,
    truth_error: float,
    all_blocks: bool,
    margin: float,
) -> Judgement:
    u, limits = unit_roundoff(dtype), torch.finfo(dtype)
    c, own = REFERENCE_ERRORS.value, OWN_ROUNDINGS.value * u
    rounding = roundings * u
    tiny = float(limits.smallest_normal) * float(limits.eps) + truth_error
    if not references:
        within = _within_rounding(actual, truth, own, tiny, c * rounding + own, margin)
        if within is not None:
            return within
    slices = Slices(truth.shape, truth.device)
    finite_blocks = []
    for index in blocks(truth.shape):
        block = _block(actual, truth, index, references)
        slices.add(index, *block[:3])
        finite_blocks.append(block[3])
    slices.finish(rounding)
    worst = _Worst(float(limits.max))
    for index, finite in zip(blocks(truth.shape), finite_blocks, strict=True):
        if len(finite_blocks) > 1:  # of one block alone, all is still there
            block = _block(actual, truth, index, (), finite)
        error, value = block[:2]
        worst.see(index, error, value, c * slices.spread(index) + own * value.abs() + tiny)
        if not finite:
            worst.see_broken(index, actual[index], truth[index])
        if worst.ratio > margin and not all_blocks:
            break
    return worst.judgement(slices, own, rounding, tiny, margin)


def _within_rounding(
    actual: torch.Tensor, truth: torch.Tensor, own: float, tiny: float, sensitivity: float, margin: float
) -> Judgement | None:
    """Settle a gradient whose every element is within `margin` times 2u of the truth, which implies the rest; else None."""
    worst, largest, size, place = 0.0, 0.0, 0.0, None
    if actual.dtype != truth.dtype or not torch.equal(actual, truth):
        for index in blocks(truth.shape):
            value = truth[index].double()
            error = (actual[index].to(value) - value).abs_()
            if not error.numel():
                continue
            ratio = error / value.abs().mul_(own).add_(tiny)
            used, position, most, there = _at_the_largest(ratio, error.max(), value)
            if not used <= margin:
                return None
            largest = max(largest, most)
            if used > worst:
                worst, place, size = used, locate(index, int(position), error.shape), abs(there)
    allowed = 0.0 if place is None else own * size + tiny
    count = truth.numel()
    return Judgement(True, "element", largest, own * worst, place, allowed, worst, 0, count, 0, sensitivity)


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
        relative = torch.nan_to_num(size / value.abs(), 0.0, math.inf).max()
        used, position, wrong, largest, most, there = _at_the_largest(
            ratio, (ratio > 1).sum(), size.max(), relative, allowed.expand(error.shape)
        )
        self.wrong += int(wrong)
        if self.index is None or used > self.ratio:
            self.ratio = used
            self.index = locate(index, int(position), error.shape)
            self.allowed = there
        self.absolute = max(self.absolute, largest)
        self.relative = max(self.relative, most)

    def see_broken(self, index: Index, actual: torch.Tensor, truth: torch.Tensor) -> None:
        finite = torch.isfinite(truth)
        broken = ~torch.isfinite(actual) & finite & (truth.abs() <= self.largest_number)
        self.unjudged += int((~finite | (~torch.isfinite(actual) & ~broken)).sum())
        if bool(broken.any()):
            self.broken += int(broken.sum())
            if self.broken_index is None:
                self.broken_index = locate(index, int(broken.reshape(-1).int().argmax()), broken.shape)

    def judgement(self, slices: Slices, own: float, rounding: float, tiny: float, margin: float) -> Judgement:
        if self.broken:
            wrong, index, inf = self.wrong + self.broken, self.broken_index, math.inf
            return Judgement(False, "finite", inf, inf, index, self.allowed, inf, wrong, self.count, self.unjudged, None)
        found = slices.uses(own, rounding, tiny)
        uses: dict[Rule, float] = {"element": self.ratio, "slice": found.slice, "scale": found.scale}
        rule = max(uses, key=lambda name: uses[name]) if uses["element"] <= margin else "element"
        return Judgement(
            uses[rule] <= margin,
            rule,
            self.absolute,
            self.relative,
            self.index,
            self.allowed,
            uses[rule],
            self.wrong,
            self.count,
            self.unjudged,
            found.sensitivity,
        )


def _block(
    actual: torch.Tensor, truth: torch.Tensor, index: Index, references: Sequence[torch.Tensor], known: bool | None = None
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], bool]:
    """The errors and true values of one block, zero where either side is not finite; and whether all were, if not `known`."""
    value = truth[index].double()
    error = actual[index].to(value) - value
    errors = [r[index].to(value) - value for r in references]
    finite, *others = _finite(error, *errors) if known is None else (known,)
    errors = [e if fine else torch.nan_to_num(e, 0.0, 0.0, 0.0) for e, fine in zip(errors, others, strict=True)]
    if finite:
        return error, value, errors, True
    valid, zero = torch.isfinite(error), value.new_zeros(())
    errors = [torch.where(valid, e, zero) for e in errors]
    return torch.where(valid, error, zero), torch.where(valid, value, zero), errors, False


def _finite(*values: torch.Tensor) -> list[bool]:
    """Whether each is finite in every element; a finite sum proves it, and may overflow."""
    found = [math.isfinite(total) for total in numbers(*(value.sum() for value in values))]
    return found if all(found) else [bool(each) for each in numbers(*(torch.isfinite(value).all() for value in values))]


def _at_the_largest(ratio: torch.Tensor, *others: torch.Tensor) -> list[float]:
    """The largest ratio, its place, the numbers in `others`, and at that place the element of the last of them, a tensor."""
    used, position = ratio.reshape(-1).max(0)
    there = others[-1].reshape(-1).gather(0, position.reshape(1))
    return numbers(used, position, *others[:-1], there)
