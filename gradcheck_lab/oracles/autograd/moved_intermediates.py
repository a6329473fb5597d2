"""A forward whose intermediate values are all moved a little: what happens on the other side of every kink within it."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.oracles.autograd.simulated_rounding import EXACT
from gradcheck_lab.torch_internals import DispatchMode, is_zero_tensor

_SMALLEST, _LARGEST = 1e-2, 1e2


class Nudged(DispatchMode):
    """A dispatch mode that adds about `step` times its size to each computed value; by a coin each where a `seed` is given."""

    def __init__(self, step: float, seed: int | None = None) -> None:
        super().__init__()
        self.step, self.count = step, 0
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        computed = isinstance(result, torch.Tensor) and result.is_floating_point() and not is_zero_tensor(result)
        made = any(isinstance(a, torch.Tensor) and a.is_floating_point() for a in args)
        name = func.overloadpacket.__name__
        # what picks among values is read by its own backward, which would see the nudge as a choice
        if not computed or not made or func.is_view or name in EXACT or name.endswith("_"):
            return result
        self.count += 1
        return result + self.step * sizes(result) * self._lengths(result)

    def _lengths(self, value: torch.Tensor) -> torch.Tensor:
        """Shorter in memory order and longer from value to value, so that equal ones are told apart."""
        if self.generator is not None:
            return torch.randint(0, 2, value.shape, generator=self.generator).to(value) * 2 - 1
        ramp = torch.linspace(1.5, 0.5, max(value.numel(), 1), dtype=value.dtype, device=value.device)
        return ramp[: value.numel()].reshape(value.shape) + 0.1 * (self.count % 7)


def sizes(value: torch.Tensor) -> torch.Tensor:
    """The size of each element, by which a small step from it is small: for zeros a part of the others' size."""
    absolute = value.detach().abs()
    largest = float(absolute.amax()) if value.numel() else 0.0
    return absolute.clamp(_SMALLEST * min(largest, 1.0) or _SMALLEST, _LARGEST)
