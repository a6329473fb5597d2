"""Sums over the slices of a gradient: all elements that share one index of one axis, as the error budget weighs them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from gradcheck_lab.comparison.blocks import Index, along, over_others, spread_out
from gradcheck_lab.model.limits import SLICES_OF_AN_AXIS
from gradcheck_lab.model.precision.budget import REFERENCE_ERRORS, SCALE_DEVIATIONS


@dataclass(frozen=True, slots=True)
class Uses:
    """The largest rms(error) / allowed over all slices, |alpha| / allowed, and the largest that an element is allowed.

    The last, `sensitivity`, is in units of the slice's rms, and None where the truth is zero.
    """

    slice: float
    scale: float
    sensitivity: float | None


class Slices:
    """Per axis and index: the largest reference error, and the sums of squares of error, truth and reference errors."""

    def __init__(self, shape: torch.Size, device: torch.device) -> None:
        # a vector is one slice: its single elements are too few to take a maximum or a mean over, as a column's are and a row's
        self.axes = tuple(axis for axis, n in enumerate(shape) if n < shape.numel())
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
        # on the device of the gradient, so that a block waits for nothing: they become numbers once all blocks were added
        self.dot = self.square = torch.zeros((), dtype=torch.float64, device=device)
        self.reference_dots: list[torch.Tensor] = []

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
            self.reference_dots = [self.dot for _ in errors]
        flat = value.reshape(-1)
        self.dot = self.dot + torch.dot(error.reshape(-1), flat)
        self.square = self.square + torch.dot(flat, flat)
        self.reference_dots = [
            dot + torch.dot(reference.reshape(-1), flat) for dot, reference in zip(self.reference_dots, errors, strict=True)
        ] or self.reference_dots
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
        return spread_out([peak[self._rows(k, index)] for k, peak in enumerate(self.peak)], index, self.axes, len(self.shape))

    def uses(self, own: float, rounding: float, tiny: float) -> Uses:
        """What the slices and the scale use of their budgets, and what an error in one element has to exceed to be caught."""
        zero = self.dot.new_zeros(())
        ratios, shares = [], []
        for k, (error, value, peak) in enumerate(zip(self.error, self.value, self.peak, strict=True)):
            if not value.numel():
                continue
            reference = torch.stack([rounding * value, *(row[k] for row in self.reference)]).amax(0)
            ratios.append((error / (REFERENCE_ERRORS.value * reference + own * value + tiny)).max())
            shares.append(torch.where(value > 0, (REFERENCE_ERRORS.value * peak + tiny) / value, -torch.inf).max())
        squares = [(row[0].square() * self.counts[0]).sum() for row in self.reference]
        ratios, shares = ratios or [zero], shares or [zero - torch.inf]
        dot, square, *rest = numbers(self.dot, self.square, *ratios, *shares, *squares, *self.reference_dots)
        n, r = len(ratios), len(self.reference)
        least = max(rest[n : 2 * n])
        scale = self._scale_use(dot, square, rest[2 * n : 2 * n + r], rest[2 * n + r :], own, rounding, tiny)
        return Uses(max([0.0, *rest[:n]]), scale, None if least == -math.inf else least + own)

    def _scale_use(
        self, dot: float, square: float, squares: list[float], dots: list[float], own: float, rounding: float, tiny: float
    ) -> float:
        """|alpha| / allowed; zero where the truth is zero."""
        if square == 0.0 or not math.isfinite(square):
            return 0.0
        count = max(1, self.shape.numel())
        rms = math.sqrt(square / count)
        largest = max([rounding * rms, *(math.sqrt(each / count) for each in squares)])
        alphas = [abs(each) / square for each in dots]
        chance = SCALE_DEVIATIONS.value * largest / (rms * math.sqrt(count))
        allowed = REFERENCE_ERRORS.value * max([0.0, *alphas]) + own + chance + tiny / rms
        return abs(dot) / square / allowed


def numbers(*values: torch.Tensor) -> list[float]:
    """Tensors of one element as numbers; from a device they are read at once, since each read waits for all its work.

    >>> numbers(torch.tensor(2), torch.tensor(0.5))
    [2.0, 0.5]
    """
    return [float(value) for value in values] if values[0].is_cpu else at_once(*values)


def at_once(*values: torch.Tensor) -> list[float]:
    """Tensors of one element as numbers, by one copy from their device."""
    found: list[float] = torch.stack([value.double().reshape(()) for value in values]).tolist()
    return found
