"""A call coded as a short byte string, which is all that Hypothesis draws; drawing it is cheap, and it shrinks well.

Each byte picks an entry of a table with the simplest entry first, so that a smaller byte makes one property simpler.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from gradcheck_lab.calls.kinds import KINDS, PROFILES
from gradcheck_lab.calls.layouts import LAYOUT_NAMES
from gradcheck_lab.calls.recipe import CallRecipe, TensorRecipe
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.specs import Dim, Spec

Entry = TypeVar("Entry")
Broadcast = tuple[int, int]  # how many of the last dimensions an input has; which of the last three have size 1, as bits

LEADING = 3  # dimensions that a `*` stands for at most
_SEED = 4
_FULL: Broadcast = (LEADING, 0)
_COLUMN: Broadcast = (LEADING, 1)
_LAST: Broadcast = (1, 0)
_LENGTHS = (1, 1, 2, 2, 2, 3, 3, 0)
_RANKS = (3, 3, 3, 2, 1, 0)
_BITS = range(8)
_MODES = ("plain", "values", "both", "layouts")
_PROFILES = ("ordinary", *PROFILES)
_LAYOUTS = ("contiguous", *LAYOUT_NAMES)
_BROADCASTS = ("none", "column first", "column second", "any", "any", "any")


def pick(table: Sequence[Entry], byte: int) -> Entry:
    """The entry that a byte stands for; all are as likely, and 0 is the first."""
    return table[byte * len(table) >> 8]


@dataclass(frozen=True, slots=True)
class Coding:
    """How the calls of one or more signatures are coded as bytes; `sizes` are those of a dimension, the simplest first."""

    signatures: tuple[tuple[Spec, ...], ...]
    sizes: tuple[int, ...]
    dtypes: tuple[torch.dtype, ...]
    options: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        for signature in self.signatures:
            refuse_unknown_classes(signature)

    @property
    def width(self) -> int:
        """How many bytes a call takes."""
        return 3 + len(self.options) + _SEED + max(self._width(signature) for signature in self.signatures)

    @property
    def short_sizes(self) -> tuple[int, ...]:
        """The sizes of the dimensions that a `*` stands for."""
        return tuple(size for size in self.sizes if size <= max(2, (max(self.sizes[:5]) + 1) // 2))

    def _width(self, signature: tuple[Spec, ...]) -> int:
        dims = sum(1 + LEADING if dim.variadic else 1 for dim in dimensions_of(signature).values())
        return 1 + dims + 2 * len(broadcast_places(signature)) + 2 * len(signature)

    def read(self, text: bytes) -> CallRecipe | None:
        """The call that saved bytes stand for; None where they have another length than this coding writes."""
        return self.decode(text) if len(text) == self.width else None

    def decode(self, text: bytes) -> CallRecipe:
        """The call that the bytes stand for."""
        seed = int.from_bytes(text[-_SEED:], "big")
        rest = iter(text)
        signature = pick(self.signatures, next(rest))
        dtype, mode = pick(self.dtypes, next(rest)), pick(_MODES, next(rest))
        options = {name: pick(values, next(rest)) for name, values in self.options.items()}
        sizes = self._sizes(signature, rest)
        broadcasts = _broadcasts(signature, rest)
        tensors, broadcast = [], set[int]()
        for index, spec in enumerate(signature):
            profile, layout = pick(_PROFILES, next(rest)), pick(_LAYOUTS, next(rest))
            shape = [
                size
                for dim in spec.dims
                for size in dim.shape(_broadcast_sizes(sizes[dim.name], broadcasts.get((index, dim.name), _FULL)))
            ]
            counted = spec.classes is not None
            if shape != [size for dim in spec.dims for size in dim.shape(sizes[dim.name])]:
                broadcast.add(index)
            tensors.append(
                TensorRecipe(
                    spec.kind,
                    tuple(shape),
                    KINDS[spec.kind].dtype or dtype,
                    profile if mode in ("values", "both") else "ordinary",
                    layout if mode in ("layouts", "both") else "contiguous",
                    (seed + index) % 2**32,
                    0 if counted else spec.low,
                    max(1, sizes[str(spec.classes)][0]) if counted else spec.high,
                )
            )
        return CallRecipe(tuple(tensors), options, seed, text, sizes, frozenset(broadcast))

    def _sizes(self, signature: tuple[Spec, ...], rest: Iterator[int]) -> dict[str, tuple[int, ...]]:
        """The size of each dimension by name. 0 is rare, since it empties the call, and never the size that counts classes."""
        counted = {spec.classes for spec in signature}
        table, shorter = (*_repeated(self.sizes), 0), (*_repeated(self.short_sizes), 0)
        found: dict[str, tuple[int, ...]] = {}
        for name, dim in dimensions_of(signature).items():
            if dim.variadic:
                length = pick(_LENGTHS, next(rest))
                found[name] = tuple([pick(shorter, next(rest)) for _ in range(LEADING)][:length])
                continue
            byte = next(rest)
            if dim.size is not None:
                found[name] = (dim.size,)
            else:
                found[name] = (pick(self.sizes if name in counted else table, byte),)
        return found


def _repeated(sizes: Sequence[int]) -> tuple[int, ...]:
    """Each size three times, in order, so that one further entry is rare."""
    return tuple(itertools.chain.from_iterable((size,) * 3 for size in sizes))


def dimensions_of(signature: Sequence[Spec]) -> dict[str, Dim]:
    """The dimensions by name."""
    return {dim.name: dim for spec in signature for dim in spec.dims}


def broadcast_places(signature: Sequence[Spec]) -> list[tuple[int, Dim]]:
    """The inputs, each with its dimensions that may be 1."""
    return [(index, dim) for index, spec in enumerate(signature) for dim in spec.dims if dim.broadcast]


def refuse_unknown_classes(signature: Sequence[Spec]) -> None:
    """Raise `InvalidArgument` for labels whose number of classes is a dimension that no input has."""
    known = dimensions_of(signature)
    for spec in signature:
        if spec.classes is not None and spec.classes not in known:
            raise InvalidArgument(
                f"{spec} counts its classes by {spec.classes!r}, which is no dimension of any input; "
                f"use one of {', '.join(map(repr, known))}"
            )


def _broadcasts(signature: Sequence[Spec], rest: Iterator[int]) -> dict[tuple[int, str], Broadcast]:
    """How each input broadcasts along its `#` dimensions: not at all, as a rank-1 tensor against a column, or in any way."""
    how = pick(_BROADCASTS, next(rest))
    found: dict[tuple[int, str], Broadcast] = {}
    for index, dim in broadcast_places(signature):
        rank, ones = pick(_RANKS, next(rest)), pick(_BITS, next(rest))
        if how == "any":
            found[index, dim.name] = (rank, ones) if dim.variadic else (_FULL, _COLUMN)[ones >= 4]
        elif how != "none":
            turn = index + (how == "column second")
            found[index, dim.name] = (_COLUMN, _LAST if dim.variadic else _FULL)[turn % 2]
    return found


def _broadcast_sizes(sizes: tuple[int, ...], broadcast: Broadcast) -> tuple[int, ...]:
    """The last `rank` of the sizes, 1 where a bit says so; the lowest bit is the last dimension."""
    if broadcast is _FULL or not sizes:
        return sizes
    rank, ones = broadcast
    last = len(sizes) - 1
    shape = tuple(1 if ones >> (last - axis) & 1 else size for axis, size in enumerate(sizes))
    return shape[max(0, len(shape) - rank) :]
