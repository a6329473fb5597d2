"""The calls that fuzzing drew, as data: what was tried, with which outcome, and how a failing call became the smallest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Property = Literal["size", "axes", "broadcast", "values", "layout", "dtype", "option"]
Outcome = Literal["right", "wrong", "refused", "not compared"]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The calls of which a property had one `value`: how many were right, wrong, refused by the forward, or had no element."""

    value: str
    right: int = 0
    wrong: int = 0
    refused: int = 0
    not_compared: int = 0


@dataclass(frozen=True, slots=True)
class Tried:
    """A property of the calls, `name` says of what: the size of a dimension, how many axes `*` stood for, whether an input
    was broadcast, the values and the layout of an input, the dtype of the call, an option. Values that no call had are there.
    """

    property: Property
    name: str
    outcomes: tuple[Outcomes, ...]


@dataclass(frozen=True, slots=True)
class ShrinkStep:
    """A failing call, in words, and the number of the call that it was; each is smaller or simpler than that before it."""

    call: int
    words: str
    elements: int


@dataclass(frozen=True, slots=True)
class DrawnCalls:
    """How many calls a fuzz run made, what they had, and the failing ones from the first to the smallest."""

    calls: int = 0
    tried: tuple[Tried, ...] = ()
    shrunk: tuple[ShrinkStep, ...] = ()


def both(one: DrawnCalls | None, other: DrawnCalls | None) -> DrawnCalls | None:
    """The calls of two runs on one object; the steps are those of the first."""
    if one is None or other is None:
        return one or other
    rows = {(row.property, row.name): row for row in one.tried}
    for row in other.tried:
        known = rows.get((row.property, row.name))
        rows[row.property, row.name] = row if known is None else Tried(row.property, row.name, _added(known, row))
    return DrawnCalls(one.calls + other.calls, tuple(rows.values()), one.shrunk)


def _added(one: Tried, other: Tried) -> tuple[Outcomes, ...]:
    values = dict.fromkeys(each.value for each in (*one.outcomes, *other.outcomes))
    return tuple(_sum(value, (each for each in (*one.outcomes, *other.outcomes) if each.value == value)) for value in values)


def _sum(value: str, parts: Iterable[Outcomes]) -> Outcomes:
    counts = [(each.right, each.wrong, each.refused, each.not_compared) for each in parts]
    return Outcomes(value, *map(sum, zip(*counts, strict=True)))
