"""Rounding at random, as a backward that runs in its own dtype has it."""

from __future__ import annotations

import torch
from torch import Tensor

from gradcheck_lab.calls.moves import random_lengths, random_signs


class Rounding:
    """Moves each element of a tensor by up to `width` times itself and the smallest number `tiny`; drawn from `seed`."""

    def __init__(self, width: float, tiny: float, seed: int) -> None:
        self._width, self._tiny, self._generator = width, tiny, torch.Generator().manual_seed(seed)

    def __call__(self, value: Tensor) -> Tensor:
        drawn = 2 * (random_lengths(value, self._generator) - 1).to(value.device)
        return value + drawn * (self._width * value.abs() + self._tiny)

    def sign(self) -> int:
        """One or minus one."""
        return int(random_signs(torch.zeros(()), self._generator))
