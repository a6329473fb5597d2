"""Drawn calls as plain data, from which the same tensors can be built again on any machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.calls.drawing import draw_kind
from gradcheck_lab.calls.kinds import GENERIC, with_profile
from gradcheck_lab.calls.layouts import EXPANDED, layout_function


@dataclass(frozen=True, slots=True)
class TensorRecipe:
    """One tensor: drawn from a seed, a kind and a profile, or with the literal `values` in row-major order.

    Integers are drawn in [low, high).
    """

    kind: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float64
    profile: str = "ordinary"
    layout: str = "contiguous"
    seed: int = 0
    low: int = 0
    high: int = 10
    values: tuple[float | int | bool, ...] | None = None

    def build(self, device: str = "cpu") -> torch.Tensor:
        """Build the tensor. It is drawn on the CPU, so that it is the same on every device."""
        if self.values is not None:
            value = torch.tensor(self.values, dtype=self.dtype).reshape(self.shape)
        else:
            generator = torch.Generator().manual_seed(self.seed)
            drawn = draw_kind(self.kind, self.shape, generator, self.dtype, self.low, self.high)
            value = with_profile(self.kind, self.profile, drawn, generator)
        return layout_function(self.kind, self.layout, self.shape)(value.to(device))

    def with_written_values(self) -> TensorRecipe:
        """The recipe of the same tensor with its values as literals."""
        built = self.build()
        return TensorRecipe(
            self.kind, self.shape, built.dtype, self.profile, self.layout, self.seed, self.low, self.high,
            tuple(built.reshape(-1).tolist()),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CallRecipe:
    """One drawn call; `source` are the bytes that Hypothesis drew it from, empty where it was made in another way.

    `sizes` are those of the dimensions of its specs, and `broadcast` the inputs of which some were left out or are 1.
    """

    tensors: tuple[TensorRecipe, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    source: bytes = field(default=b"", repr=False, compare=False)
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)
    broadcast: frozenset[int] = field(default=frozenset(), repr=False, compare=False)

    def build(self, label: str = "drawn", device: str = "cpu") -> Case:
        """The call, its tensors built."""
        return Case(tuple(tensor.build(device) for tensor in self.tensors), dict(self.options), seed=self.seed, label=label)

    def widened(self) -> CallRecipe:
        """The same call in float64, with the values rounded to the original dtype; `self` where nothing changes."""
        narrow = [tensor.dtype.is_floating_point and tensor.dtype != torch.float64 for tensor in self.tensors]
        if not any(narrow):
            return self
        written = (
            replace(tensor.with_written_values(), dtype=torch.float64) if each else tensor
            for tensor, each in zip(self.tensors, narrow, strict=True)
        )
        return replace(self, tensors=tuple(written))

    @property
    def plain(self) -> bool:
        """Whether no tensor has a special profile or an expanded layout."""
        return all(tensor.profile == "ordinary" and tensor.layout != EXPANDED for tensor in self.tensors)

    @property
    def generic(self) -> bool:
        """Whether no profile puts values at zeros or bounds; ties are allowed."""
        return all(tensor.profile in GENERIC for tensor in self.tensors)

    @property
    def empty(self) -> bool:
        """Whether one of its tensors has no elements."""
        return any(0 in tensor.shape for tensor in self.tensors)

    @property
    def elements(self) -> int:
        """How many elements its tensors have."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)
