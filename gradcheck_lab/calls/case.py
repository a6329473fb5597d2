"""One concrete call: inputs, grad_outputs, options and seed; and copies of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Case:
    """One call of a subject: positional inputs, keyword options, and one upstream gradient per output.

    `grad_outputs` is None where upstream gradients are still to be drawn. `label` is what reports call the case.
    """

    inputs: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    grad_outputs: tuple[torch.Tensor, ...] | None = None
    seed: int = 0
    label: str = "as given"


def is_differentiable(value: Any) -> bool:
    """Whether a gradient with respect to `value` exists: true for floating and complex tensors."""
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())


def copy_inputs(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Detached copies of the tensors with the same strides in new storage; other values as they are."""
    return tuple(copy_tensor(value) if isinstance(value, torch.Tensor) else value for value in inputs)


def copy_tensor(value: torch.Tensor) -> torch.Tensor:
    """A detached copy with the strides and storage offset of `value`; elements that share memory there still share it."""
    value = value.detach()
    if value.layout != torch.strided or value.is_quantized or not value.numel() or value.is_contiguous():
        return value.clone()
    reach = 1 + sum((n - 1) * s for n, s in zip(value.shape, value.stride(), strict=True))
    storage = value.new_zeros(value.storage_offset() + reach)
    storage[value.storage_offset() :] = value.as_strided((reach,), (1,), value.storage_offset())
    return storage.as_strided(value.shape, value.stride(), value.storage_offset())
