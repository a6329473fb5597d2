"""What convolutions and pooling share: sizes by axis, and how many windows fit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument

Each = tuple[int, ...]
Sizes = int | Each


def by_axis(value: Sizes, axes: int) -> Each:
    """One number for each axis.

    >>> by_axis(3, 2), by_axis((1, 2), 2)
    ((3, 3), (1, 2))
    """
    return (value,) * axes if isinstance(value, int) else tuple(value)


def windows(
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Each:
    """How many windows fit along each axis; below 1 where none does.

    >>> windows((7,), (3,), (2,), (0,), (1,))
    (3,)
    """
    parts = zip(sizes, kernel, stride, padding, dilation, strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in parts)


def left_over(
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Each:
    """How many elements at the end of each axis no window reaches: what a transposed convolution has to add.

    >>> left_over((7, 8), (3, 3), (2, 2), (0, 0), (1, 1))
    (0, 1)
    """
    parts = zip(sizes, kernel, stride, padding, dilation, strict=True)
    return tuple((n + 2 * p - d * (k - 1) - 1) % s for n, k, s, p, d in parts)


def places(kernel: Each, stride: Each, dilation: Each, counts: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """Index what stands at each place of the kernel, in all windows at once, row by row.

    >>> [place[1:] for place in places((1, 2), (2, 2), (1, 1), (1, 3))]
    [(slice(0, 1, 2), slice(0, 5, 2)), (slice(0, 1, 2), slice(1, 6, 2))]
    """
    for place in itertools.product(*map(range, kernel)):
        parts = zip(place, stride, dilation, counts, strict=True)
        yield ..., *(slice(i * d, i * d + s * (count - 1) + 1, s) for i, s, d, count in parts)


def check_windows(name: str, x: torch.Tensor, kernel: tuple[int, ...], stride: Sizes, padding: Sizes, dilation: Sizes) -> None:
    """Raise `InvalidArgument` for numbers that describe no windows, and for windows that do not fit the input."""
    axes = len(kernel)
    given = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    for option, value in given.items():
        least = 0 if option == "padding" else 1
        whole = isinstance(value, int) or (isinstance(value, tuple) and len(value) == axes)
        if not whole or any(not isinstance(v, int) or isinstance(v, bool) or v < least for v in by_axis(value, axes)):
            raise InvalidArgument(
                f"{name}: {option} is {value!r}; pass a whole number of at least {least}, or a tuple of {axes}"
            )
    sizes = tuple(x.shape[-axes:])
    found = windows(sizes, kernel, *(by_axis(value, axes) for value in (stride, padding, dilation)))
    if min(found) < 1:
        raise InvalidArgument(
            f"{name}: a kernel of {kernel} with dilation {dilation} does not fit into {sizes} with padding {padding}; "
            "pad more, or pass a larger input"
        )
