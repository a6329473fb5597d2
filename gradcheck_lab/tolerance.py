"""The error budget: how far a sound gradient may be from the truth, judged in blocks of bounded memory.

The truth is float64 autograd on the inputs as rounded to the dtype under test; `references` are gradients that a sound
implementation in that dtype produced (native autograd, float32 inside, simulated rounding). With u the unit roundoff, e_r the
error of reference r, and a slice all elements that share one index of one axis, a gradient g of truth g* passes when

    |g - g*| <= 3 min over axes (max over the slice of |e_r|) + 2u |g*| + smallest subnormal      for every element
    rms(g - g*) <= 3 max_r rms(e_r) + 2u rms(g*) + smallest subnormal                              for every slice
    |alpha| <= 3 max_r |alpha_r| + 2u + 4 max_r rms(e_r) / (rms(g*) sqrt(N)),  alpha = <g - g*, g*> / <g*, g*>

The rounding of terms as large as the result always counts as one e_r: 2u times the rms of the slice, u in 16 bits, where
sound implementations accumulate in float32 and round once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

C = 3.0
BLOCK = 1 << 17

Rule = Literal["element", "slice", "scale", "finite"]
Index = tuple[slice | int, ...]


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


def unit_roundoff(dtype: torch.dtype) -> float:
    """Half the distance from 1 to the next number of `dtype`.

    >>> unit_roundoff(torch.float64) == 2.0**-53
    True
    """
    return float(torch.finfo(dtype).eps) / 2


def judge(
    actual: torch.Tensor,
    truth: torch.Tensor,
    dtype: torch.dtype,
    references: Sequence[torch.Tensor] = (),
    roundings: float | None = None,
) -> Judgement:
    """Hold `actual` against `truth`, tensors of one shape, at the precision of `dtype`.

    `references` are gradients of the same shape whose error is known to be sound; `roundings`, in units of u, is what counts
    as rounding at the size of a slice. Returns a `Judgement`.
    Memory beyond the arguments is a few blocks of 1 MiB and one number per slice, whatever the size.

    >>> judge(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]).double(), torch.float32).wrong_elements
    1
    """
    if roundings is None:
        roundings = 1 if torch.finfo(dtype).bits == 16 else 2
    if truth.is_complex():
        real = torch.view_as_real
        parts = [real(r.resolve_conj()) for r in references]
        found = _judge(real(actual.resolve_conj()), real(truth.resolve_conj()), dtype, parts, roundings)
        index = found.worst_index[:-1] if found.worst_index is not None else None
        return replace(found, worst_index=index, elements=truth.numel())
    return _judge(actual, truth, dtype, references, roundings)


def _judge(
    actual: torch.Tensor,
    truth: torch.Tensor,
    dtype: torch.dtype,
    references: Sequence[torch.Tensor],
    roundings: float,
) -> Judgement:
    u, limits = unit_roundoff(dtype), torch.finfo(dtype)
    rounding = roundings * u
    if actual.dtype == truth.dtype and not references and torch.equal(actual, truth):
        return Judgement(True, "element", 0.0, 0.0, None, 0.0, 0.0, 0, truth.numel(), 0, C * rounding + 2 * u)
    tiny = float(limits.smallest_normal) * float(limits.eps)
    slices = _Slices(truth.shape, truth.device)
    for index in blocks(truth.shape):
        slices.add(index, *_block(actual, truth, index, references))
    slices.finish(rounding)
    worst = _Worst()
    for index in blocks(truth.shape):
        error, value, _, valid = _block(actual, truth, index, references)
        broken = ~torch.isfinite(actual[index]) & torch.isfinite(truth[index]) & (truth[index].abs() <= limits.max)
        allowed = C * slices.spread(index) + 2 * u * value.abs() + tiny
        worst.see(index, error, value, allowed, slices.rms_at(index), broken, valid)
    return worst.judgement(slices, u, rounding, tiny)


class _Slices:
    """Per axis and index: the largest reference error, and the sums of squares of error, truth and reference errors."""

    def __init__(self, shape: torch.Size, device: torch.device) -> None:
        # a vector is one slice: its single elements are too few to take a maximum or a mean over
        self.axes = range(len(shape)) if len(shape) > 1 else range(0)
        self.shape = shape
        lengths = [shape[axis] for axis in self.axes] or [1]
        self.peak = [torch.zeros(n, dtype=torch.float64, device=device) for n in lengths]
        self.error = [torch.zeros(n, dtype=torch.float64, device=device) for n in lengths]
        self.value = [torch.zeros(n, dtype=torch.float64, device=device) for n in lengths]
        self.reference: list[list[torch.Tensor]] = []
        self.counts = [max(1, shape.numel() // max(1, n)) for n in lengths]
        self.dot = self.square = 0.0
        self.reference_dots: list[float] = []

    def add(
        self,
        index: Index,
        error: torch.Tensor,
        value: torch.Tensor,
        errors: list[torch.Tensor],
        valid: torch.Tensor | None,
    ) -> None:
        if not self.reference and errors:
            self.reference = [[torch.zeros_like(part) for part in self.error] for _ in errors]
            self.reference_dots = [0.0] * len(errors)
        self.dot += float((error * value).sum())
        self.square += float(value.square().sum())
        for r, reference in enumerate(errors):
            self.reference_dots[r] += float((reference * value).sum())
        squares = [error.square(), value.square(), *(r.square() for r in errors)]
        for k, axis in enumerate(self.axes or (None,)):
            at = _along(index, axis)
            for total, square in zip([self.error[k], self.value[k], *(row[k] for row in self.reference)], squares, strict=True):
                total[at] += _over_others(square, axis, index, torch.sum)
            for reference in errors:
                top = _over_others(reference.abs(), axis, index, torch.amax)
                self.peak[k][at] = torch.maximum(self.peak[k][at], top)

    def finish(self, rounding: float) -> None:
        """Turn sums into root mean squares, and let rounding at the slice's size count as a reference."""
        self.error = [(s / n).sqrt() for s, n in zip(self.error, self.counts, strict=True)]
        self.value = [(s / n).sqrt() for s, n in zip(self.value, self.counts, strict=True)]
        self.reference = [[(s / n).sqrt() for s, n in zip(row, self.counts, strict=True)] for row in self.reference]
        self.peak = [torch.maximum(p, rounding * v) for p, v in zip(self.peak, self.value, strict=True)]

    def spread(self, index: Index) -> torch.Tensor:
        """For each element of a block, the smallest over the axes of its slice's largest reference error."""
        return self._smallest(self.peak, index)

    def rms_at(self, index: Index) -> torch.Tensor:
        """For each element of a block, the smallest over the axes of its slice's rms of the truth."""
        return self._smallest(self.value, index)

    def _smallest(self, per_axis: list[torch.Tensor], index: Index) -> torch.Tensor:
        if not self.axes:
            return per_axis[0][0]
        found: torch.Tensor | None = None
        kept = [axis for axis in self.axes if not isinstance(_at(index, axis), int)]
        for axis in self.axes:
            part = per_axis[axis][_along(index, axis)]
            part = part.reshape([-1 if other == axis else 1 for other in kept if axis in kept])
            found = part if found is None else torch.minimum(found, part)
        assert found is not None
        return found

    def slice_use(self, u: float, rounding: float, tiny: float) -> float:
        """The largest rms(error) / allowed over all slices."""
        used = 0.0
        for k, error in enumerate(self.error):
            reference = torch.stack([rounding * self.value[k], *(row[k] for row in self.reference)]).amax(0)
            ratio = error / (C * reference + 2 * u * self.value[k] + tiny)
            used = max(used, float(ratio.max()) if ratio.numel() else 0.0)
        return used

    def scale_use(self, u: float, rounding: float) -> float:
        """|alpha| / allowed; zero where the truth is zero."""
        if self.square == 0.0 or not math.isfinite(self.square):
            return 0.0
        count = max(1, self.shape.numel())
        rms = math.sqrt(self.square / count)
        spread = [math.sqrt(float((row[0].square()).mean())) for row in self.reference]
        largest = max([rounding * rms, *spread])
        alphas = [abs(dot) / self.square for dot in self.reference_dots]
        allowed = C * max([0.0, *alphas]) + 2 * u + 4 * largest / (rms * math.sqrt(count))
        return abs(self.dot) / self.square / allowed


class _Worst:
    """What stands out over all blocks."""

    def __init__(self) -> None:
        self.ratio = self.absolute = self.relative = self.allowed = self.sensitivity = 0.0
        self.index: tuple[int, ...] | None = None
        self.broken_index: tuple[int, ...] | None = None
        self.wrong = self.broken = self.count = self.unjudged = 0

    def see(
        self,
        index: Index,
        error: torch.Tensor,
        value: torch.Tensor,
        allowed: torch.Tensor,
        rms: torch.Tensor,
        broken: torch.Tensor,
        valid: torch.Tensor | None,
    ) -> None:
        self.count += error.numel()
        if not error.numel():
            return
        size, magnitude = error.abs(), value.abs()
        ratio = size / allowed
        self.wrong += int((ratio > 1).sum())
        position = int(ratio.argmax())
        if self.index is None or float(ratio.reshape(-1)[position]) > self.ratio:
            self.ratio = float(ratio.reshape(-1)[position])
            self.index = _locate(index, position, error.shape)
            self.allowed = float(allowed.expand(error.shape).reshape(-1)[position])
        self.absolute = max(self.absolute, float(size.max()))
        self.relative = max(self.relative, float(torch.where(size == 0, 0.0, size / magnitude).max()))
        scale = torch.maximum(magnitude, rms.expand(magnitude.shape))
        caught = torch.where(scale > 0, allowed / scale, 0.0)
        self.sensitivity = max(self.sensitivity, float(caught.max()))
        if valid is not None:
            self.unjudged += int((~valid & ~broken).sum())
            if broken.any():
                self.broken += int(broken.sum())
                if self.broken_index is None:
                    self.broken_index = _locate(index, int(broken.reshape(-1).int().argmax()), error.shape)

    def judgement(self, slices: _Slices, u: float, rounding: float, tiny: float) -> Judgement:
        if self.broken:
            wrong = self.wrong + self.broken
            index = self.broken_index
            inf = math.inf
            return Judgement(False, "finite", inf, inf, index, self.allowed, inf, wrong, self.count, self.unjudged, None)
        uses: dict[Rule, float] = {
            "element": self.ratio,
            "slice": slices.slice_use(u, rounding, tiny),
            "scale": slices.scale_use(u, rounding),
        }
        rule = max(uses, key=lambda name: uses[name]) if uses["element"] <= 1 else "element"
        used = uses[rule]
        return Judgement(
            used <= 1,
            rule,
            self.absolute,
            self.relative,
            self.index,
            self.allowed,
            used,
            self.wrong,
            self.count,
            self.unjudged,
            self.sensitivity or None,
        )


def blocks(shape: torch.Size, limit: int = BLOCK) -> Iterator[Index]:
    """Yield indices that cut a tensor of `shape` into parts of at most `limit` elements, without copying.

    >>> list(blocks(torch.Size([3, 2]), 4))
    [(slice(0, 2, None),), (slice(2, 3, None),)]
    """
    inner = 1
    axis = len(shape)
    while axis > 0 and inner * shape[axis - 1] <= limit:
        axis -= 1
        inner *= shape[axis]
    if axis == 0:
        yield ()
        return
    step = max(1, limit // max(1, inner))
    for lead in itertools.product(*(range(n) for n in shape[: axis - 1])):
        for start in range(0, shape[axis - 1], step):
            yield (*lead, slice(start, min(start + step, shape[axis - 1])))


def _block(
    actual: torch.Tensor, truth: torch.Tensor, index: Index, references: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], torch.Tensor | None]:
    value = truth[index].double()
    error = actual[index].to(value) - value
    errors = [r[index].to(value) - value for r in references]
    valid = torch.isfinite(error)
    if bool(valid.all()):
        return error, value, [torch.nan_to_num(e, 0.0, 0.0, 0.0) for e in errors], None
    zero = value.new_zeros(())
    errors = [torch.where(valid & torch.isfinite(e), e, zero) for e in errors]
    return torch.where(valid, error, zero), torch.where(valid, value, zero), errors, valid


def _at(index: Index, axis: int) -> slice | int:
    return index[axis] if axis < len(index) else slice(None)


def _along(index: Index, axis: int | None) -> slice:
    if axis is None:
        return slice(None)
    part = _at(index, axis)
    return slice(part, part + 1) if isinstance(part, int) else part


def _over_others(block: torch.Tensor, axis: int | None, index: Index, reduce: object) -> torch.Tensor:
    """Reduce a block over every axis but `axis`, to one number per index of that axis (one in all for None)."""
    if not block.numel():
        return torch.zeros((), dtype=block.dtype)
    ints = [k for k, part in enumerate(index) if isinstance(part, int)]
    if axis is None or axis in ints:
        return reduce(block).reshape(1)  # type: ignore[operator, no-any-return]
    mine = axis - sum(k < axis for k in ints)
    others = [k for k in range(block.ndim) if k != mine]
    return reduce(block, dim=others) if others else block  # type: ignore[operator, no-any-return]


def _locate(index: Index, position: int, shape: torch.Size) -> tuple[int, ...]:
    local: list[int] = []
    for size in reversed(shape):
        local.append(position % size)
        position //= size
    inner = iter(reversed(local))
    whole = [part if isinstance(part, int) else (part.start or 0) + next(inner) for part in index]
    return (*whole, *inner)
