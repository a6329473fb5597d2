"""What a gradient may be at a kink: autograd at points close by, on every side (Burke, Lewis and Overton, "A robust gradient
sampling algorithm for nonsmooth, nonconvex optimization", SIAM J. Optim. 15, 2005).

At a smooth point the gradients of nearby points agree ever better as the points come closer; at a kink they do not, and
the interval between them is what a subgradient may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.case import is_differentiable
from gradcheck_lab.oracles.autograd import AutogradOracle
from gradcheck_lab.subject import Key

_RADIUS = 1e-6
_ALONE = 3
_AIMED = 2


@dataclass(frozen=True, slots=True)
class Interval:
    """Elementwise bounds of the nearby gradients, and where they stay apart however close the points are.

    `alone` is where they agree with one another and not with the gradient at the point itself: kinks of intermediates cancel
    there, as those of clamp(x) and abs(x) do in softplus, and the conventions of their subgradients do not.
    """

    low: torch.Tensor
    high: torch.Tensor
    kink: torch.Tensor
    alone: torch.Tensor

    def admits(self, actual: torch.Tensor) -> torch.Tensor:
        """Which elements of `actual` are subgradients at a kink, or the limit where autograd's value stands alone."""
        width = self.high - self.low
        slack = torch.where(self.alone, width + 1e-9 * self.high.abs(), 1e-3 * width)
        return (self.kink | self.alone) & (actual >= self.low - slack) & (actual <= self.high + slack)


class Subgradients:
    """Gradients around the case of an oracle, sampled once and shared by all its gradients."""

    def __init__(self, oracle: AutogradOracle) -> None:
        self.oracle = oracle
        self._samples: dict[tuple[float, _Move], dict[Key, torch.Tensor | None]] = {}

    def intervals(self, key: Key, doubtful: Callable[[Interval], torch.Tensor]) -> Iterator[Interval]:
        """Ever better intervals for the gradient at `key`; none where the forward cannot be run beside the case, or is complex.

        From two points on opposite sides; from more, since where several kinks meet in one element a convention takes the same
        side of all of them, as moving one input alone does, or any; then from points aimed at the elements that are
        `doubtful` by an interval.
        """
        near, found = self._interval(key, False), None
        if near is not None:
            yield near
            found = self._interval(key, True)
        if found is None:
            return
        yield found
        for _ in range(_AIMED if key.role == "input" else 0):
            found = self._aimed(key, found, doubtful(found))
            yield found

    def _interval(self, key: Key, thorough: bool) -> Interval | None:
        moves = self._moves(thorough)
        wide, narrow = self._bounds(key, _RADIUS, moves), self._bounds(key, _RADIUS / 64, moves)
        if wide is None or narrow is None:
            return None
        width, closer = wide[1] - wide[0], narrow[1] - narrow[0]
        scale = torch.maximum(narrow[0].abs(), narrow[1].abs())
        kink = (closer > 0.25 * width) & (closer > 1e-9 * scale) & (closer > 0)
        here = self.oracle.truth().gradients.get(key)
        alone = torch.zeros_like(kink)
        if here is not None and here.shape == kink.shape and not here.is_complex():
            off = torch.maximum(narrow[0] - here, here - narrow[1])
            size = torch.maximum(scale, here.abs())
            alone = ~kink & (off > 1e-3 * size) & (closer <= 1e-3 * size)
        return Interval(narrow[0], narrow[1], kink, alone)

    def _aimed(self, key: Key, known: Interval, doubtful: torch.Tensor) -> Interval:
        """`known`, widened by points at which the doubtful elements of the input win or lose against all that they tie with.

        Of many tied values a few random points let few win; moving those that matter further than the others does.
        """
        low, high = known.low, known.high
        for sign in (1, -1):
            found = []
            for radius in (_RADIUS, _RADIUS / 64):
                inputs = self._moved(radius, _Move(sign, "random"))
                mine, here = inputs[key.first], self.oracle.case.inputs[key.first].detach().double()
                aimed = torch.where(doubtful, here + 4 * (mine - here), mine)
                moved = tuple(aimed if i == key.first else v for i, v in enumerate(inputs))
                try:
                    value = self.oracle.run(torch.float64, case=replace(self.oracle.case, inputs=moved)).gradients.get(key)
                except Exception:  # outside the domain on this side
                    value = None
                found.append(value)
            wide, narrow = found
            if wide is None or narrow is None or not torch.isfinite(wide).all() or not torch.isfinite(narrow).all():
                continue
            scale = torch.maximum(wide.abs(), narrow.abs())
            settled = (wide - narrow).abs() <= 1e-3 * scale  # the same however near: a side of the kink, not a slope
            low = torch.where(settled, torch.minimum(low, narrow), low)
            high = torch.where(settled, torch.maximum(high, narrow), high)
        wider = (low < known.low) | (high > known.high)
        kink = known.kink | (wider & (high - low > 1e-2 * torch.maximum(low.abs(), high.abs())))
        return Interval(low, high, kink, known.alone)

    def _moves(self, thorough: bool) -> tuple[_Move, ...]:
        if not thorough:
            return _OPPOSITE
        moving = [i for i, v in enumerate(self.oracle.case.inputs) if is_differentiable(v) and not v.is_complex()]
        # of two inputs, moving one up is moving the other down
        alone = [_Move(sign, alone=i) for i in moving[: min(_ALONE, len(moving) - 1)] for sign in (1, -1)]
        return (*_OPPOSITE, *alone, *(_Move(sign, pattern) for pattern in ("random", "mixed") for sign in (1, -1)))

    def _moved(self, radius: float, move: _Move) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(self.oracle.case.seed + 1 + len(move.pattern))
        given = self.oracle.case.inputs
        return tuple(_beside(v, radius, move, i, generator) if move.alone in (None, i) else v for i, v in enumerate(given))

    def _bounds(self, key: Key, radius: float, moves: tuple[_Move, ...]) -> tuple[torch.Tensor, torch.Tensor] | None:
        found = [self._sample(radius, move).get(key) for move in moves]
        tensors = [value for value in found if value is not None and not value.is_complex()]
        if not tensors:
            return None
        stack = torch.stack(tensors)
        if not torch.isfinite(stack).all():
            stack = torch.nan_to_num(stack, 0.0, 0.0, 0.0)
        return stack.amin(0), stack.amax(0)

    def _sample(self, radius: float, move: _Move) -> dict[Key, torch.Tensor | None]:
        if (radius, move) not in self._samples:
            inputs = self._moved(radius, move)
            try:
                moved = replace(self.oracle.case, inputs=inputs)
                self._samples[radius, move] = self.oracle.run(torch.float64, case=moved).gradients
            except Exception:  # outside the domain on this side: nothing to learn from there
                self._samples[radius, move] = {}
        return self._samples[radius, move]


@dataclass(frozen=True, slots=True)
class _Move:
    """A small step of the inputs or of one `alone`, up or down.

    The `pattern` is "ramp", ever shorter in memory order, so that of tied values the first wins going up and the last going
    down, as in most conventions; "random" lengths; or "mixed", some elements up and the others down.
    """

    sign: int
    pattern: str = "ramp"
    alone: int | None = None


_OPPOSITE = (_Move(1), _Move(-1))


def _beside(value: Any, radius: float, move: _Move, slot: int, generator: torch.Generator) -> Any:
    if not is_differentiable(value) or value.is_complex():
        return value
    wide = value.detach().double()
    if move.pattern == "ramp":  # steeper for each further input, so that equal values of two of them are apart
        step = torch.linspace(1.5 + 0.2 * slot, 0.5, max(wide.numel(), 1), dtype=torch.float64)[: wide.numel()].reshape(
            wide.shape
        )
        step = step + 0.05 * slot
    else:
        step = torch.rand(wide.shape, generator=generator, dtype=torch.float64) + 0.5
        coins = torch.randint(0, 2, wide.shape, generator=generator) * 2 - 1
        step = step * coins if move.pattern == "mixed" else step
    # one way is shorter, or an even function would look the same on both
    step = step if move.sign > 0 else -0.7 * step
    return wide + radius * wide.abs().clamp(min=1e-2).clamp(max=1e2) * step.to(wide.device)
