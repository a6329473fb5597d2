"""A mistake that one call hides, as a row: the wrong subject beside a sound twin and the call that both are given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Pair = tuple[Any, Any, tuple[Any, ...], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Mistake:
    """`make()` returns a new wrong subject, its sound twin, the inputs and the options; `cause` is what a check should say."""

    name: str
    cause: str
    make: Callable[[], Pair]

    def __str__(self) -> str:
        return f"{self.cause}-{self.name}"


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
