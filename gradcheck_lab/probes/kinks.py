"""Ties of many values at once: nearby points at which each of the tied values wins in turn.

Random points beside a tie seldom let every one of n tied values win; a ramp that is rolled along all axes does, in n points.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from gradcheck_lab.case import is_differentiable
from gradcheck_lab.subject import Key

if TYPE_CHECKING:
    from gradcheck_lab.examine import Examination

_RADIUS = 1e-9
_MOST = 12


class Ramps:
    """The gradients of a case at points on rolled ramps around it, run once for all its inputs."""

    def __init__(self, examination: Examination) -> None:
        self.examination = examination
        self._samples: list[dict[Key, torch.Tensor | None]] = []

    def admits(self, index: int, actual: torch.Tensor, truth: torch.Tensor) -> bool:
        """Whether every wrong element of a gradient lies between the gradients nearby, at a kink."""
        if truth.is_complex() or not bool(torch.isfinite(actual).all()):
            return False
        value = actual.to(truth)
        right = (value - truth).abs() <= 1e-5 * truth.abs() + 1e-12 * truth.abs().amax()
        for most in (3, _MOST):
            nearby = [g for sample in self._run(most) if (g := sample.get(Key("input", index))) is not None]
            stack = torch.stack([*nearby, truth]).nan_to_num(0, 0, 0)
            low, high = stack.amin(0), stack.amax(0)
            slack = 1e-3 * (high - low)
            kink = high - low > 1e-2 * torch.maximum(low.abs(), high.abs())
            if bool((right | (kink & (value >= low - slack) & (value <= high + slack))).all()):
                return True
            if not bool((kink & ~right).any()):
                return False
        return False

    def kinked(self, index: int, truth: torch.Tensor) -> bool:
        """Whether the gradient nearby differs from that at the point, in any element, however near."""
        nearby = [g for sample in self._run(3) if (g := sample.get(Key("input", index))) is not None]
        stack = torch.stack([*nearby, truth]).nan_to_num(0, 0, 0)
        low, high = stack.amin(0), stack.amax(0)
        return bool((high - low > 1e-2 * torch.maximum(low.abs(), high.abs())).any())

    def _run(self, most: int) -> list[dict[Key, torch.Tensor | None]]:
        oracle = self.examination.oracle
        tensors = [v for v in oracle.case.inputs if is_differentiable(v) and not v.is_complex()]
        length = min(_MOST, max([2, *(n for v in tensors for n in v.shape)]))
        # the first turns lie far apart, so that a few of them tell whether there is a kink at all
        turns = [*range(0, length, max(1, length // 3)), *range(length)][: length + 3]
        for turn in list(dict.fromkeys(turns))[len(self._samples) : most]:
            moved = tuple(_beside(v, turn, k, length) for k, v in enumerate(oracle.case.inputs))
            try:
                self._samples.append(oracle.run(torch.float64, case=replace(oracle.case, inputs=moved)).gradients)
            except Exception:  # outside the domain on this side
                self._samples.append({})
        return self._samples


def _beside(value: Any, turn: int, slot: int, length: int) -> Any:
    if not is_differentiable(value) or value.is_complex():
        return value
    wide = value.detach().double()
    place = torch.zeros(wide.shape, dtype=torch.long, device=wide.device)
    for axis, size in enumerate(wide.shape):
        line = torch.arange(size, device=wide.device).reshape([-1 if k == axis else 1 for k in range(wide.ndim)])
        place = place + line
    step = ((place + turn + slot * (length // 2)) % length).double() - (length - 1) / 2 + 0.1 * slot
    return wide + _RADIUS * wide.abs().clamp(1e-2, 1e2) * step
