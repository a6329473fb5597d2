"""What a drawn call is made from: plain data per tensor, from which the same tensors are built again on any machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.case import Case, draw_kind
from gradcheck_lab.fuzzing.domains import laid_out, profiled


@dataclass(frozen=True, slots=True)
class TensorRecipe:
    """One tensor by seed, kind and profile of its values; or by its `values`, row-major, where they are given."""

    kind: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float64
    profile: str = "ordinary"
    layout: str = "contiguous"
    seed: int = 0
    low: int = 0
    high: int = 10
    values: tuple[float | int | bool, ...] | None = None

    def build(self) -> torch.Tensor:
        """The tensor."""
        if self.values is not None:
            value = torch.tensor(self.values, dtype=self.dtype).reshape(self.shape)
        else:
            generator = torch.Generator().manual_seed(self.seed)
            drawn = draw_kind(self.kind, self.shape, generator, self.dtype, self.low, self.high)
            value = profiled(self.kind, self.profile, drawn, generator)
        return value if self.layout == "contiguous" else laid_out(self.kind, self.layout, value)

    def as_written(self) -> TensorRecipe:
        """The same tensor by its values."""
        built = self.build()
        return TensorRecipe(
            self.kind, self.shape, built.dtype, self.profile, self.layout, self.seed, self.low, self.high,
            tuple(built.reshape(-1).tolist()),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CallRecipe:
    """One drawn call."""

    tensors: tuple[TensorRecipe, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def build(self, label: str = "drawn") -> Case:
        """The call, its tensors built."""
        return Case(tuple(tensor.build() for tensor in self.tensors), dict(self.options), seed=self.seed, label=label)

    @property
    def plain(self) -> bool:
        """Whether all its values are ordinary."""
        return all(tensor.profile == "ordinary" and tensor.layout != "expanded" for tensor in self.tensors)

    @property
    def generic(self) -> bool:
        """Whether none of its values is made to lie at a zero or bound; they may be tied with one another."""
        return all(tensor.profile in ("ordinary", "equal", "ties") for tensor in self.tensors)

    @property
    def empty(self) -> bool:
        """Whether a tensor of it has no elements."""
        return any(0 in tensor.shape for tensor in self.tensors)

    @property
    def elements(self) -> int:
        """How many elements its tensors have."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)
