"""Rounding at random, as a backward that runs in its own dtype has it."""

from __future__ import annotations

import torch
from torch import Tensor


class Rounding:
    """Moves each element of a tensor by up to `width` times itself and the smallest number `tiny`; drawn from `seed`."""

    def __init__(self, width: float, tiny: float, seed: int) -> None:
        self._width, self._tiny, self._generator = width, tiny, torch.Generator().manual_seed(seed)

    def __call__(self, value: Tensor) -> Tensor:
        drawn = 2 * torch.rand(value.shape, generator=self._generator, dtype=torch.float64).to(value.device) - 1
        return value + drawn * (self._width * value.abs() + self._tiny)

    def sign(self) -> int:
        """One or minus one."""
        return 2 * int(torch.randint(2, (), generator=self._generator)) - 1
