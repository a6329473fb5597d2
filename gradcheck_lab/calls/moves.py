"""Values moved a little, to ask what holds beside them: how far each question moves them, and why so far."""

from __future__ import annotations

from collections.abc import Mapping

import torch

# does the derivative change from one number to the next ones? Above the rounding of float64, below what any formula resolves
STEADY = 1e-9
# at a random point near the call's own one, where ties and kinks are gone and the values are still alike
BESIDE = 1e-3
# the same for second derivatives, which are compared over the step: a power of two, so that scaling by it rounds nothing
NEAR = 2.0**-6
# as near as second derivatives can be told apart: the root of float64's rounding, a power of two
TINY = 2.0**-26
# to either side of a kink, by the bits of the inputs, whose rounding moves the kink itself
AROUND_A_KINK: Mapping[int, float] = {64: 1e-8, 32: 1e-6, 16: 1e-6}
# numbers unlike those of the call, and of their size
JITTER = 0.2


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
    return absolute.clamp(1e-2 * min(largest, 1.0) or 1e-2, 1e2)


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
