"""What a gradient may be at a kink: autograd at points close by, on every side (Burke, Lewis and Overton, "A robust gradient
sampling algorithm for nonsmooth, nonconvex optimization", SIAM J. Optim. 15, 2005).

At a smooth point the gradients of nearby points agree ever better as the points come closer; at a kink they do not, and
the interval between them is what a subgradient may be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.case import is_differentiable
from gradcheck_lab.oracles.autograd import AutogradOracle
from gradcheck_lab.subject import Key

_RADIUS = 1e-6
_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Interval:
    """Elementwise bounds of the nearby gradients, and where they stay apart however close the points are."""

    low: torch.Tensor
    high: torch.Tensor
    kink: torch.Tensor

    def admits(self, actual: torch.Tensor) -> torch.Tensor:
        """Which elements of `actual` are subgradients at a kink."""
        slack = 1e-3 * (self.high - self.low)
        return self.kink & (actual >= self.low - slack) & (actual <= self.high + slack)


class Subgradients:
    """Gradients around the case of an oracle, sampled once and shared by all its gradients."""

    def __init__(self, oracle: AutogradOracle) -> None:
        self.oracle = oracle
        self._samples: dict[float, list[dict[Key, torch.Tensor | None]]] = {}

    def interval(self, key: Key) -> Interval | None:
        """The interval for the gradient at `key`; None where the forward cannot be run beside the case, or is complex."""
        wide, narrow = self._bounds(key, _RADIUS), self._bounds(key, _RADIUS / 64)
        if wide is None or narrow is None:
            return None
        width, closer = wide[1] - wide[0], narrow[1] - narrow[0]
        scale = torch.maximum(narrow[0].abs(), narrow[1].abs())
        kink = (closer > 0.25 * width) & (closer > 1e-9 * scale) & (closer > 0)
        return Interval(narrow[0], narrow[1], kink)

    def _bounds(self, key: Key, radius: float) -> tuple[torch.Tensor, torch.Tensor] | None:
        found = [sample.get(key) for sample in self._sample(radius)]
        tensors = [value for value in found if value is not None and not value.is_complex()]
        if not tensors:
            return None
        stack = torch.stack(tensors)
        if not torch.isfinite(stack).all():
            stack = torch.nan_to_num(stack, 0.0, 0.0, 0.0)
        return stack.amin(0), stack.amax(0)

    def _sample(self, radius: float) -> list[dict[Key, torch.Tensor | None]]:
        if radius not in self._samples:
            generator = torch.Generator().manual_seed(self.oracle.case.seed + 1)
            signs = [1.0, -1.0] + [0.0] * (_SAMPLES - 2)
            samples = []
            for sign in signs:
                inputs = tuple(_beside(v, radius, sign, generator) for v in self.oracle.case.inputs)
                try:
                    moved = replace(self.oracle.case, inputs=inputs)
                    samples.append(self.oracle.run(torch.float64, case=moved).gradients)
                except Exception:  # outside the domain on this side: nothing to learn from there
                    continue
            self._samples[radius] = samples
        return self._samples[radius]


def _beside(value: Any, radius: float, sign: float, generator: torch.Generator) -> Any:
    if not is_differentiable(value) or value.is_complex():
        return value
    wide = value.detach().double()
    step = torch.rand(wide.shape, generator=generator, dtype=torch.float64) + 0.5
    coins = torch.randint(0, 2, wide.shape, generator=generator) * 2 - 1
    step = step * (sign or coins)
    return wide + radius * wide.abs().clamp(min=1e-2).clamp(max=1e2) * step.to(wide.device)
