"""A forward whose intermediate values are all moved a little: what happens on the other side of every kink within it."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.calls.moves import moved, random_signs, size_among
from gradcheck_lab.model.amounts import RAMP_START, STEP_PER_VALUE
from gradcheck_lab.oracles.autograd.simulated_rounding import EXACT
from gradcheck_lab.torch_internals import DispatchMode, is_zero_tensor


class MovedIntermediates(DispatchMode):
    """A dispatch mode that adds about `step` times its size to each computed value; by a coin each where a `seed` is given.

    With `zeros` only what is exactly zero moves: among values as small as the step, nothing else is at a kink there. With
    `tracked` only what autograd tracks moves.
    """

    def __init__(self, step: float, seed: int | None = None, zeros: bool = False, tracked: bool = False) -> None:
        super().__init__()
        self.tracked = tracked
        self.step, self.count, self.zeros = step, 0, zeros
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        computed = isinstance(result, torch.Tensor) and result.is_floating_point() and not is_zero_tensor(result)
        floating = (a for a in args if isinstance(a, torch.Tensor) and a.is_floating_point())
        made = any(a.requires_grad or not self.tracked for a in floating)
        name = func.overloadpacket.__name__
        # what picks among values is read by its own backward, which would see the nudge as a choice
        if not computed or not made or func.is_view or name in EXACT or name.endswith("_"):
            return result
        self.count += 1
        found = moved(result, self.step, self._lengths(result), size_among(result))
        return torch.where(result == 0, found, result) if self.zeros else found

    def _lengths(self, value: torch.Tensor) -> torch.Tensor:
        """Shorter in memory order and longer from value to value, so that equal ones are told apart."""
        if self.generator is not None:
            return random_signs(value, self.generator)
        ramp = torch.linspace(RAMP_START.value, 0.5, max(value.numel(), 1), dtype=value.dtype, device=value.device)
        return ramp[: value.numel()].reshape(value.shape) + STEP_PER_VALUE.value * (self.count % 7)
