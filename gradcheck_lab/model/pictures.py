"""What a page draws of one gradient: how much of its budget each element used, and its values as grids."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gradcheck_lab.model.limits import PICTURED_CELLS_OF_A_SIDE, PICTURED_ELEMENTS, PICTURED_SLICES

DECADES = (-6, 6)  # of error / allowed: each bar of a distribution is one of these powers of ten, with both tails


@dataclass(frozen=True, slots=True)
class Picture:
    """Grids of a gradient, in slices along its last two axes.

    Each of the `slices`, the indices of the axes before, has `rows` x `columns` cells, row by row. Where a slice is larger, a
    cell stands for several elements and shows the one that used most of its budget, so that the worst is never lost; `at`
    says where that element is in its slice. `actual` and `expected` are its hand-written and its true gradient, `used` its
    error / allowed. All are base64 of little-endian numbers: `at` of 32-bit integers, the others of 32-bit floats.
    A complex gradient has one more axis, of its real and imaginary parts.
    """

    shape: tuple[int, ...]
    rows: int
    columns: int
    slices: tuple[tuple[int, ...], ...]
    at: str
    actual: str
    expected: str
    used: str

    @property
    def cells(self) -> int:
        """How many cells all slices have."""
        return len(self.slices) * self.rows * self.columns


def distribution_of(used: torch.Tensor) -> tuple[int, ...]:
    """How many elements used which power of ten of their budget: no error at all, one count a decade of `DECADES`, not finite.

    >>> distribution_of(torch.tensor([0.0, 0.5, 20.0]))
    (1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0)
    """
    low, high = DECADES
    used = used.reshape(-1)
    finite = used[torch.isfinite(used)]
    some = finite[finite > 0]
    decade = some.log10().ceil().clamp(low, high).long() - low
    counts = torch.bincount(decade, minlength=high - low + 1).tolist()
    return (finite.numel() - some.numel(), *counts, used.numel() - finite.numel())


def picture_of(actual: torch.Tensor, expected: torch.Tensor, used: torch.Tensor) -> Picture | None:
    """Draw a gradient of any shape; None for one without elements or of too many."""
    if not 0 < expected.numel() <= PICTURED_ELEMENTS.value:
        return None
    if expected.is_complex():
        actual, expected = torch.view_as_real(actual.resolve_conj()), torch.view_as_real(expected.resolve_conj())
        used = used.unsqueeze(-1).expand(expected.shape)
    shape = expected.shape
    height, width = (1, 1, *shape)[-2:]
    planes = math.prod(shape[:-2])
    score = torch.nan_to_num(used.to(torch.float64), math.inf, math.inf).reshape(planes, height, width)
    chosen = _chosen(score.amax((1, 2)))
    rows, columns = (min(n, PICTURED_CELLS_OF_A_SIDE.value) for n in (height, width))
    top, at = torch.nn.functional.adaptive_max_pool2d(score[chosen], (rows, columns), return_indices=True)
    values = [v.detach().reshape(planes, -1)[chosen].gather(1, at.flatten(1)) for v in (actual, expected)]
    leading = [_unravelled(c, shape[:-2]) for c in chosen]
    floats = [_text(v.to(torch.float32)) for v in (*values, top)]
    return Picture(tuple(shape), rows, columns, tuple(leading), _text(at.to(torch.int32)), *floats)


def _unravelled(number: int, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(k) for k in torch.unravel_index(torch.tensor(number), tuple(shape))) if shape else ()


def _chosen(worst: torch.Tensor) -> list[int]:
    """Which slices are drawn: all of a few; else the worst ones, and others at even distances."""
    count, most = worst.numel(), PICTURED_SLICES.value
    if count <= most:
        return list(range(count))
    top = worst.topk(most // 2).indices.tolist()
    return sorted({*top, *((count - 1) * i // (most - most // 2 - 1) for i in range(most - most // 2))})


def _text(values: torch.Tensor) -> str:
    return base64.b64encode(values.detach().contiguous().cpu().numpy().tobytes()).decode("ascii")


def within(pictures: Sequence[Picture | None], order: Sequence[int], most: int) -> list[Picture | None]:
    """The pictures, in the order in which they matter, as long as they have at most so many cells together."""
    kept: list[Picture | None] = [None] * len(pictures)
    for index in order:
        picture = pictures[index]
        if picture is not None and picture.cells <= most:
            kept[index], most = picture, most - picture.cells
    return kept
