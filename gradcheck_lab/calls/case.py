"""One concrete call: inputs, grad_outputs, options and seed; and how its random numbers are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from gradcheck_lab.specs import Spec, bind


@dataclass(frozen=True, slots=True)
class Case:
    """One call of a subject: positional inputs, keyword options, an upstream gradient per output when it was given."""

    inputs: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    grad_outputs: tuple[torch.Tensor, ...] | None = None
    seed: int = 0
    label: str = "as given"


def is_differentiable(value: Any) -> bool:
    """Whether a gradient of `value` means anything: floating and complex tensors."""
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())


def copy_inputs(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Detached copies of the tensors, with their strides, apart from the user's storage; other values as they are."""
    return tuple(copy_tensor(value) if isinstance(value, torch.Tensor) else value for value in inputs)


def copy_tensor(value: torch.Tensor) -> torch.Tensor:
    """A detached copy that lies in memory as `value` does: its strides, gaps and offset; expanded elements stay shared."""
    value = value.detach()
    if value.layout != torch.strided or not value.numel() or value.is_contiguous():
        return value.clone()
    reach = 1 + sum((n - 1) * s for n, s in zip(value.shape, value.stride(), strict=True))
    storage = value.new_zeros(value.storage_offset() + reach)
    storage[value.storage_offset() :] = value.as_strided((reach,), (1,), value.storage_offset())
    return storage.as_strided(value.shape, value.stride(), value.storage_offset())


















def bound_sizes(specs: Sequence[Spec], inputs: Sequence[torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """The size of every letter in a call."""
    return bind(specs, [value.shape for value in inputs], [f"input {i}" for i in range(len(inputs))])




