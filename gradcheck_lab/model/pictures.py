"""What a page draws of one gradient: how much of its budget each element used, and its values as grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def within(pictures: Sequence[Picture | None], order: Sequence[int], most: int) -> list[Picture | None]:
    """The pictures, in the order in which they matter, as long as they have at most so many cells together."""
    kept: list[Picture | None] = [None] * len(pictures)
    for index in order:
        picture = pictures[index]
        if picture is not None and picture.cells <= most:
            kept[index], most = picture, most - picture.cells
    return kept
