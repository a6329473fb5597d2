"""Values moved by a small distance, so that a check can run beside the user's point. The distances are in `model.amounts`."""

from __future__ import annotations

import torch

from gradcheck_lab.model.amounts import LARGEST_MOVED_SIZE, SMALLEST_MOVED_SIZE


def moved(value: torch.Tensor, distance: float, direction: torch.Tensor, size: torch.Tensor | None = None) -> torch.Tensor:
    """`value` and `distance` times `direction`, elementwise; in units of `size` where it is given.

    >>> moved(torch.tensor([2.0, -4.0]), 0.5, torch.tensor([1.0, -1.0]), torch.tensor([2.0, 4.0]))
    tensor([ 3., -6.])
    """
    return value + (distance * direction.to(value) if size is None else distance * size * direction.to(size))


def size_at_least(value: torch.Tensor, least: float) -> torch.Tensor:
    """The absolute value of each element, at least `least`, so that zeros are moved too."""
    return value.abs().clamp(min=least)


def size_among(value: torch.Tensor) -> torch.Tensor:
    """The absolute value of each element, clamped to [0.01 min(1, largest), 100], as the unit of a small step."""
    absolute = value.detach().abs()
    largest = float(absolute.amax()) if value.numel() else 0.0
    least = SMALLEST_MOVED_SIZE.value
    return absolute.clamp(least * min(largest, 1.0) or least, LARGEST_MOVED_SIZE.value)


def random_normal(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Standard normal numbers in the shape of `value` and on its device, the same on every device."""
    return torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.device)


def random_lengths(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Uniform numbers in [0.5, 1.5) in the shape of `value` and on its device, the same on every device."""
    return (torch.rand(value.shape, generator=generator, dtype=torch.float64) + 0.5).to(value.device)


def random_signs(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random signs, 1 or -1, in the shape of `value` and on its device, the same on every device."""
    return (torch.randint(0, 2, value.shape, generator=generator) * 2 - 1).to(value.device)


def jittered(value: torch.Tensor, width: float, generator: torch.Generator, below: float = 0.5) -> torch.Tensor:
    """Multiply each element by a random factor in [1 - width * below, 1 + width * (1 - below))."""
    factor = 1 + width * (torch.rand(value.shape, generator=generator, dtype=torch.float64) - below)
    return value * factor.to(value.device, value.real.dtype)
