"""Kinds of values and profiles, one row each. A kind says which values a spec allows; a profile makes special values of a kind.

The Python that a report prints is made from the source of these functions: each ends in its only `return`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from gradcheck_lab.specs import DTYPES

Change = Callable[[torch.Tensor], torch.Tensor]
Profile = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def as_drawn(value: torch.Tensor) -> torch.Tensor:
    return value


def away_from_zero(value: torch.Tensor) -> torch.Tensor:
    return value + torch.where(value < 0, -0.25, 0.25)


def above_a_quarter(value: torch.Tensor) -> torch.Tensor:
    return value.abs() + 0.25


def softmax(value: torch.Tensor) -> torch.Tensor:
    return torch.softmax(value, -1)


def largest(value: torch.Tensor) -> torch.Tensor:
    return (value == value.amax(-1, keepdim=True)).double()


def above_zero(value: torch.Tensor) -> torch.Tensor:
    return value > 0


def unequal_to_zero(value: torch.Tensor) -> torch.Tensor:
    return value != 0


def between(value: torch.Tensor, generator: torch.Generator, low: int, high: int) -> torch.Tensor:
    return torch.randint(low, high, value.shape, generator=generator)


def evenly_shared(value: torch.Tensor) -> torch.Tensor:
    return torch.full_like(value, 1 / (value.shape or (1,))[-1])


def the_first_throughout(value: torch.Tensor) -> torch.Tensor:
    return torch.full_like(value, value.reshape(-1)[0].item())


@dataclass(frozen=True, slots=True)
class Kind:
    """How values of a kind are made, and which values belong to it.

    `make` makes them from normal numbers (None: whole numbers in [low, high) are drawn), `contains` says which numbers are of
    the kind (None: all), `level` makes them all equal. With `elementwise`, a profile changes each number by itself,
    and a number that would leave the kind stays as drawn. With `rows`, a row along the last dimension is one value.
    """

    make: Change | None
    contains: Change | None = None
    level: Change | None = None
    elementwise: bool = False
    rows: bool = False
    dtype: torch.dtype | None = None  # None: the call's


KINDS: Mapping[str, Kind] = {
    "real": Kind(as_drawn, elementwise=True),
    "positive": Kind(above_a_quarter, above_zero, elementwise=True),
    "nonzero": Kind(away_from_zero, unequal_to_zero, elementwise=True),
    "probabilities": Kind(softmax, level=evenly_shared, rows=True),
    "one_hot": Kind(largest, rows=True),
    "labels": Kind(None, level=the_first_throughout, dtype=getattr(torch, DTYPES["labels"])),
    "integers": Kind(None, level=the_first_throughout, dtype=getattr(torch, DTYPES["integers"])),
    "mask": Kind(above_zero, level=the_first_throughout, dtype=getattr(torch, DTYPES["mask"])),
}


TIED = 0.7123  # differs from the bounds of usual clamps, hinges and knots
ASIDE = 0.0123  # added to tied values, so that they are at no zero or bound and ties are the only kinks


def ordinary(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value


def zeros(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.masked_fill(torch.rand(value.shape, generator=generator) < 0.5, 0.0)


def ties(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.round().add(ASIDE)


def equal(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.full_like(value, TIED)


def whole(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.round()


def large(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.mul(min(1e4, torch.finfo(value.dtype).max ** 0.25))  # a product of four is still finite


def tiny(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.mul(max(1e-8, torch.finfo(value.dtype).tiny ** 0.5))  # a product of two is still a normal number


PROFILES: Mapping[str, Profile] = {
    "ordinary": ordinary,
    "equal": equal,
    "ties": ties,
    "zeros": zeros,
    "whole": whole,
    "large": large,
    "tiny": tiny,
}
GENERIC = frozenset({"ordinary", "equal", "ties"})  # profiles without zeros and bounds; values may be tied
LEVEL = frozenset({"equal", "ties"})  # profiles that make all values equal, for kinds that are not elementwise
WRITTEN = "written"  # the profile of literal values


def values_of_kind(kind: str, normal: torch.Tensor, generator: torch.Generator, low: int, high: int) -> torch.Tensor:
    """Make values of a kind from normal numbers, before the cast to its dtype; integers are drawn in [low, high)."""
    make = KINDS[kind].make
    if make is None:
        return between(normal, generator, low, high)
    return make(normal) if normal.numel() else normal


def with_profile(kind: str, profile: str, value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Apply a profile to a drawn tensor, as far as its kind allows; integers and masks become constant for ties."""
    if profile in ("ordinary", WRITTEN) or not value.numel():
        return value
    row = KINDS[kind]
    if row.elementwise:
        shaped = PROFILES[profile](value, generator)
        return shaped if row.contains is None else shaped.where(row.contains(shaped), value)
    return row.level(value) if row.level is not None and profile in LEVEL else value
