"""Values like those that the user gave: in another shape, of the same range, structure and sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.moves import jittered
from gradcheck_lab.model.amounts import PICKED_JITTER


@dataclass(frozen=True, slots=True)
class Structure:
    """What holds of the values of a real tensor that others like it should keep; nothing, where it is not `known`."""

    known: bool = False
    non_negative: bool = False
    at_most_one: bool = False
    rows_sum_to_one: bool = False
    one_hot: bool = False
    symmetric: bool = False
    triangle: Literal["", "lower", "upper"] = ""
    ascending: bool = False

    def applied(self, value: torch.Tensor) -> torch.Tensor:
        """Give `value` this structure, as far as its shape can have it."""
        if not self.known or not value.numel() or not value.ndim:
            return value
        if self.at_most_one:
            value = value.abs().clamp(max=1)
            if self.rows_sum_to_one:
                return _one_hot(value) if self.one_hot else _summing_to_one(value)
        elif self.non_negative:
            value = value.abs()
        if value.ndim >= 2 and value.shape[-1] == value.shape[-2]:
            if self.symmetric:
                return (value + value.mT) / 2
            if self.triangle:
                return torch.tril(value) if self.triangle == "lower" else torch.triu(value)
        return value.sort(-1).values if self.ascending else value


def structure_of(given: torch.Tensor) -> Structure:
    """Look at the values of a tensor: range [0, 1], rows that sum to one, symmetry, a triangle, sorted rows."""
    if not is_differentiable(given) or given.is_complex() or not given.numel():
        return Structure()
    low, high = float(given.min()), float(given.max())
    unit = low >= 0 and high <= 1
    rows = unit and given.ndim > 0 and given.shape[-1] > 1 and bool(((given.double().sum(-1) - 1).abs() < 1e-3).all())
    square = given.ndim >= 2 and given.shape[-1] == given.shape[-2] > 1
    triangle: Literal["", "lower", "upper"] = ""
    if square:
        triangle = "lower" if torch.equal(given, given.tril()) else "upper" if torch.equal(given, given.triu()) else ""
    return Structure(
        known=True,
        non_negative=low >= 0,
        at_most_one=unit,
        rows_sum_to_one=rows,
        one_hot=rows and bool(((given == 0) | (given == 1)).all()),
        symmetric=square and torch.equal(given, given.mT),
        triangle=triangle,
        ascending=given.ndim > 0 and given.shape[-1] > 3 and bool((given.diff(dim=-1) > 0).all()),
    )


def resembling(
    given: torch.Tensor, shape: Sequence[int], generator: torch.Generator, structure: Structure | None = None
) -> torch.Tensor:
    """Values like those of `given` in another shape: drawn among them, apart from one another, with their structure.

    `structure` is that of `given` where it is known already.
    """
    count = 1
    for size in shape:
        count *= size
    flat = given.detach().reshape(-1)
    if not flat.numel():
        fresh = torch.randn(count, generator=generator, dtype=torch.float64)
        return fresh.to(given.device, given.dtype).reshape(tuple(shape))
    picked = flat[torch.randint(0, flat.numel(), (count,), generator=generator).to(flat.device)]
    if is_differentiable(given):
        whole = bool((flat == flat.real.round() if flat.is_complex() else flat == flat.round()).all())
        if not whole:
            picked = jittered(picked, PICKED_JITTER.value, generator)
    return (structure or structure_of(given)).applied(picked.reshape(tuple(shape)))


def structured(given: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Give `value` what holds of `given`: range [0, 1], rows that sum to one, symmetry, a triangle, sorted rows."""
    return structure_of(given).applied(value)


def _one_hot(value: torch.Tensor) -> torch.Tensor:
    place = torch.rand(value.shape, generator=torch.Generator().manual_seed(value.numel()))
    return (place == place.amax(-1, keepdim=True)).to(value)


def _summing_to_one(value: torch.Tensor) -> torch.Tensor:
    value = value + 0.05
    return value / value.sum(-1, keepdim=True)
