"""Values moved a little, to ask what holds beside them; how far each question moves them stands in `model.amounts`."""

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
    """The size of each element; those below `least` count as that large, so that zeros move too."""
    return value.abs().clamp(min=least)


def size_among(value: torch.Tensor) -> torch.Tensor:
    """The size of each element, between 0.01 and 100, by which a step is small: for zeros a part of the others' size."""
    absolute = value.detach().abs()
    largest = float(absolute.amax()) if value.numel() else 0.0
    least = SMALLEST_MOVED_SIZE.value
    return absolute.clamp(least * min(largest, 1.0) or least, LARGEST_MOVED_SIZE.value)


def noise(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random normal numbers, one for each element of `value`."""
    return torch.randn(value.shape, generator=generator, dtype=torch.float64)


def lengths(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random lengths between 0.5 and 1.5, one for each element of `value`."""
    return torch.rand(value.shape, generator=generator, dtype=torch.float64) + 0.5


def coins(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """1 or -1 by chance, one for each element of `value`."""
    return torch.randint(0, 2, value.shape, generator=generator) * 2 - 1


def jittered(value: torch.Tensor, width: float, generator: torch.Generator, below: float = 0.5) -> torch.Tensor:
    """Each element times a random factor near 1, from an interval of this width, a part of which is `below` 1."""
    factor = 1 + width * (torch.rand(value.shape, generator=generator, dtype=torch.float64) - below)
    return value * factor.to(value.device, value.real.dtype)
