"""Walking a tensor of any shape in blocks of bounded size, and reducing or spreading along its axes block by block."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from gradcheck_lab.model.limits import BLOCK_ELEMENTS

Index = tuple[slice | int, ...]


def blocks(shape: torch.Size, limit: int | None = None) -> Iterator[Index]:
    """Yield indices that cut a tensor of `shape` into parts of at most `limit` elements, without copying.

    >>> list(blocks(torch.Size([3, 2]), 4))
    [(slice(0, 2, None),), (slice(2, 3, None),)]
    """
    limit = BLOCK_ELEMENTS.value if limit is None else limit
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


def along(index: Index, axis: int | None) -> slice:
    """The part of `axis` that a block covers; everything for None."""
    part = index[axis] if axis is not None and axis < len(index) else slice(None)
    return slice(part, part + 1) if isinstance(part, int) else part


def over_others(block: torch.Tensor, axis: int | None, index: Index, reduce: Callable[..., Any]) -> torch.Tensor:
    """Reduce a block over every axis but `axis`, to one number per index of that axis (one in all for None)."""
    if not block.numel():
        return block.new_zeros(())
    ints = [k for k, part in enumerate(index) if isinstance(part, int)]
    if axis is None or axis in ints:
        whole: torch.Tensor = reduce(block)
        return whole.reshape(1)
    mine = axis - sum(k < axis for k in ints)
    others = [k for k in range(block.ndim) if k != mine]
    if not others:
        return block
    found: torch.Tensor = reduce(block, dim=others)
    return found


def spread_out(parts: Sequence[torch.Tensor], index: Index, axes: range) -> torch.Tensor:
    """For each element of a block, the smallest of its axes' numbers; `parts` holds the block's numbers along each axis."""
    if not axes:
        return parts[0][0]
    found: torch.Tensor | None = None
    kept = [axis for axis in axes if not (axis < len(index) and isinstance(index[axis], int))]
    for axis in axes:
        part = parts[axis].reshape([-1 if other == axis else 1 for other in kept if axis in kept])
        found = part if found is None else torch.minimum(found, part)
    assert found is not None
    return found


def locate(index: Index, position: int, shape: torch.Size) -> tuple[int, ...]:
    """The index in the whole tensor of the element at flat `position` of the block at `index`, which has `shape`."""
    local: list[int] = []
    for size in reversed(shape):
        local.append(position % size)
        position //= size
    inner = iter(reversed(local))
    whole = [part if isinstance(part, int) else (part.start or 0) + next(inner) for part in index]
    return (*whole, *inner)
