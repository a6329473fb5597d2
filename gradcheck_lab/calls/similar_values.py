"""Random values similar to the user's, in any shape: of the same range, sign and structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.masks import mask_values
from gradcheck_lab.calls.moves import jittered
from gradcheck_lab.model.amounts import PICKED_JITTER


@dataclass(frozen=True, slots=True)
class ValueStructure:
    """Properties of a tensor's values that similar values have to share; none but `whole` where `known` is False."""

    known: bool = False
    whole: bool = False
    non_negative: bool = False
    at_most_one: bool = False
    rows_sum_to_one: bool = False
    one_hot: bool = False
    symmetric: bool = False
    triangle: Literal["", "lower", "upper"] = ""
    ascending: bool = False

    def applied(self, value: torch.Tensor) -> torch.Tensor:
        """Return `value` changed to have this structure, as far as its shape allows."""
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


def structure_of(given: torch.Tensor) -> ValueStructure:
    """Find the structure of a tensor's values: range [0, 1], rows that sum to one, symmetry, a triangle, sorted rows."""
    if not is_differentiable(given) or not given.numel():
        return ValueStructure()
    whole = bool((given == given.real.round() if given.is_complex() else given == given.round()).all())
    if given.is_complex():
        return ValueStructure(whole=whole)
    low, high = float(given.min()), float(given.max())
    unit = low >= 0 and high <= 1
    rows = unit and given.ndim > 0 and given.shape[-1] > 1 and bool(((given.double().sum(-1) - 1).abs() < 1e-3).all())
    square = given.ndim >= 2 and given.shape[-1] == given.shape[-2] > 1
    triangle: Literal["", "lower", "upper"] = ""
    if square:
        triangle = "lower" if torch.equal(given, given.tril()) else "upper" if torch.equal(given, given.triu()) else ""
    return ValueStructure(
        known=True,
        whole=whole,
        non_negative=low >= 0,
        at_most_one=unit,
        rows_sum_to_one=rows,
        one_hot=rows and bool(((given == 0) | (given == 1)).all()),
        symmetric=square and torch.equal(given, given.mT),
        triangle=triangle,
        ascending=given.ndim > 0 and given.shape[-1] > 3 and bool((given.diff(dim=-1) > 0).all()),
    )


def similar_values(
    given: torch.Tensor, shape: Sequence[int], generator: torch.Generator, structure: ValueStructure | None = None
) -> torch.Tensor:
    """Draw values similar to `given` in another shape: elements of `given`, slightly jittered, with the same structure.

    Whole numbers are not jittered. `structure` is that of `given`, where the caller has it.
    """
    count = 1
    for size in shape:
        count *= size
    flat = given.detach().reshape(-1)
    if not flat.numel():
        fresh = torch.randn(count, generator=generator, dtype=torch.float64)
        return fresh.to(given.device, given.dtype).reshape(tuple(shape))
    picked = flat[torch.randint(0, flat.numel(), (count,), generator=generator).to(flat.device)]
    structure = structure or structure_of(given)
    if is_differentiable(given) and not structure.whole:
        picked = jittered(picked, PICKED_JITTER.value, generator)
    return structure.applied(picked.reshape(tuple(shape)))


def with_structure_of(given: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return `value` changed to have the structure of `given`, as far as its shape allows."""
    return structure_of(given).applied(value)


class Structures:
    """The structures of tensors' values, each found once."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[torch.Tensor, ValueStructure]] = {}

    def of(self, given: torch.Tensor) -> ValueStructure:
        """The structure of a tensor's values."""
        known = self._found.get(id(given))
        if known is None:  # the tensor is kept too, so that no other can have its id
            known = self._found[id(given)] = (given, structure_of(given))
        return known[1]


def with_mixed_rows(given: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Change one entry of each row of a mask that has one value throughout, unless the given mask has such a row too.

    A row of an attention mask that hides everything, for example, is a special case that the user's call did not ask for.
    """
    values = mask_values(given)
    if values is None or not drawn.numel() or not drawn.ndim or drawn.shape[-1] < 2:
        return drawn
    for kind, other in (values, values[::-1]):
        if not bool((given == kind).all(-1).any()):
            whole = (drawn == kind).all(-1)
            drawn = drawn.clone()
            drawn[..., 0] = torch.where(whole, torch.tensor(other, dtype=drawn.dtype, device=drawn.device), drawn[..., 0])
    return drawn


def _one_hot(value: torch.Tensor) -> torch.Tensor:
    place = torch.rand(value.shape, generator=torch.Generator().manual_seed(value.numel()))
    return (place == place.amax(-1, keepdim=True)).to(value)


def _summing_to_one(value: torch.Tensor) -> torch.Tensor:
    value = value + 0.05
    return value / value.sum(-1, keepdim=True)
