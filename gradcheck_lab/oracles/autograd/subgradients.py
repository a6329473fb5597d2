"""What a gradient may be at a kink: autograd at points close by, on every side (Burke, Lewis and Overton, "A robust gradient
sampling algorithm for nonsmooth, nonconvex optimization", SIAM J. Optim. 15, 2005).

At a smooth point the gradients of nearby points agree ever better as the points come closer; at a kink they do not, and
the interval between them is what a subgradient may be.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.moves import moved, random_lengths, random_signs, size_among
from gradcheck_lab.model.amounts import (
    KINK_RADIUS,
    KINK_RADIUS_CLOSER,
    KINK_RADIUS_NARROW,
    RAMP_PER_INPUT,
    RAMP_START,
    SHORTER_WAY_BACK,
    STEP_PER_INPUT,
    STEP_PER_VALUE,
)
from gradcheck_lab.model.limits import AIMED_ROUNDS, INPUTS_MOVED_ALONE, TIED_RANKS
from gradcheck_lab.model.precision import bits
from gradcheck_lab.model.precision.budget import NOT_ROUNDING
from gradcheck_lab.model.precision.kinks import (
    INSIDE_ROUNDING,
    INTERVAL_SLACK,
    KINK_STAYS,
    LIMIT_ERROR,
    SETTLED,
    SLOPES_DIFFER,
    STEADY_APART,
    STEADY_AT_KINK,
)
from gradcheck_lab.oracles.autograd.moved_intermediates import MovedIntermediates
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.subjects.subject import Key

_Point = tuple[torch.Tensor, torch.Tensor]


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

    @property
    def at(self) -> torch.Tensor:
        """Which elements are at a kink of either sort."""
        return self.kink | self.alone

    def spread(self, within: torch.Tensor) -> Interval:
        """The interval of a whole gradient, from that of the elements of a mask: nowhere else is a kink."""
        low, high = (v.new_zeros(within.shape).masked_scatter(within, v) for v in (self.low, self.high))
        return Interval(low, high, *(torch.zeros_like(within).masked_scatter(within, v) for v in (self.kink, self.alone)))

    def admits(self, actual: torch.Tensor) -> torch.Tensor:
        """Which elements of `actual` are subgradients at a kink, or the limit where autograd's value stands alone."""
        width = self.high - self.low
        slack = torch.where(self.alone, width + LIMIT_ERROR.value * self.high.abs(), INTERVAL_SLACK.value * width)
        return self.at & (actual >= self.low - slack) & (actual <= self.high + slack)


class Subgradients:
    """Gradients around the case of an oracle, sampled once and shared by all its gradients."""

    def __init__(self, oracle: AutogradOracle) -> None:
        self.oracle = oracle
        # nothing is differentiated by these: where one is at a bound, as zeros of a mask are, is no kink
        self._fixed = oracle.runner.subject.fixed
        found = [bits(v.dtype) for v in oracle.case.inputs if is_differentiable(v)]
        radius = (KINK_RADIUS if min(found, default=64) == 64 else KINK_RADIUS_NARROW).value
        self._radii = (radius, radius / KINK_RADIUS_CLOSER.value)

    @cached_property
    def _rounding(self) -> float:
        """What rounding leaves where the largest upstream gradient is: below it a difference of two gradients is no kink."""
        upstream = [float(g.abs().max()) for g in self.oracle.case.grad_outputs or () if is_differentiable(g) and g.numel()]
        return INSIDE_ROUNDING.value * max(upstream, default=0.0)

    def intervals(
        self, key: Key, doubtful: Callable[[Interval], torch.Tensor], within: torch.Tensor | None = None
    ) -> Iterator[Interval]:
        """Ever better intervals for the gradient at `key`; none where the forward cannot be run beside the case, or is complex.

        With `within`, a mask, only these elements are looked at, and memory is for these alone.

        From a few on opposite sides; from more, since where several kinks meet in one element a convention takes the same
        side of all of them, as moving one input alone does, or any; then from points aimed at the elements that are
        `doubtful` by an interval, and from ramps at whose turns each of many tied values has every rank once; at last from
        intermediates moved in the inputs' place: conventions choose a side at each of them, and inputs close by need not
        reach these sides together.
        """


        def interval(points: Sequence[_Point]) -> Interval:
            found = self._interval(key, points, within)
            return found if within is None else found.spread(within)

        points = self._points(key, self._moves(thorough=False), within)
        if not points:
            return
        yield interval(points)
        points = self._points(key, self._moves(thorough=True), within)
        yield interval(points)
        for _ in range(AIMED_ROUNDS.value if key.role == "input" else 0):
            points += _chosen(self._aimed(key, doubtful(interval(points))), within)
            yield interval(points)
        points += _chosen(self._within(key), within)
        yield interval(points)
        if key.role == "input":
            yield interval(points + self._points(key, self._turns(), within))

    def _interval(self, key: Key, points: Sequence[_Point], within: torch.Tensor | None) -> Interval:
        """What lies between the gradients at some points; a kink is where they stay apart as the points come closer."""
        wide, narrow = (torch.stack([point[k] for point in points]) for k in (0, 1))
        low, high = narrow.amin(0), narrow.amax(0)
        width, closer = wide.amax(0) - wide.amin(0), high - low
        scale = torch.maximum(low.abs(), high.abs())
        kink = (closer > KINK_STAYS.value * width) & (closer > SLOPES_DIFFER.value * scale)
        # rounding alone changes as much from far to close as from point to point
        kink &= (wide - narrow).abs().amax(0) <= 0.5 * closer
        # a kink beside a slope is what is left where the slope is continued to the point itself
        settled = _same(wide, narrow)
        limits = narrow - (wide - narrow) / (KINK_RADIUS_CLOSER.value - 1)
        apart = limits.amax(0) - limits.amin(0)
        kink |= settled.all(0) & (apart > KINK_STAYS.value * closer) & (apart > SLOPES_DIFFER.value * scale)
        # beside values as small as the step the gradient itself changes at some points, whatever the others say
        change = (wide - narrow).abs()
        steady = change <= STEADY_AT_KINK.value * torch.maximum(wide.abs(), narrow.abs())
        least, most = _range(narrow, steady)
        some = ~kink & (torch.where(steady, change, 0.0).amax(0) <= STEADY_APART.value * (most - least))
        some &= most - least > SLOPES_DIFFER.value * torch.maximum(least.abs(), most.abs())
        kink |= some
        low, high = torch.where(some, least, low), torch.where(some, most, high)
        here = self.oracle.truth().gradients.get(key)
        here = here if here is None or within is None else here[within]
        alone = torch.zeros_like(kink)
        if here is not None and here.shape == kink.shape and not here.is_complex():
            off = torch.maximum(low - here, here - high)
            size = torch.maximum(scale, here.abs())
            apart = off > torch.clamp(NOT_ROUNDING.value * size, min=self._rounding)
            alone = ~kink & apart & (closer <= SETTLED.value * size)
        return Interval(low, high, kink, alone)

    def _points(self, key: Key, moves: Sequence[_Move], within: torch.Tensor | None) -> list[_Point]:
        found = []
        for move in moves:
            wide, narrow = (self._sample(radius, move, within is None).get(key) for radius in self._radii)
            if wide is not None and narrow is not None and not wide.is_complex():
                found += _chosen([(wide.nan_to_num(0, 0, 0), narrow.nan_to_num(0, 0, 0))], within)
        return found

    def _aimed(self, key: Key, doubtful: torch.Tensor) -> list[_Point]:
        """Points at which the doubtful elements of the input win or lose against all that they tie with.

        Of many tied values a few random points let few win; moving those that matter further than the others does.
        """
        found: list[_Point] = []
        here = self.oracle.case.inputs[key.first].detach().double()
        for sign in (1, -1):
            cases = []
            for radius in self._radii:
                inputs = self._moved(radius, _Move(sign, "random"))
                mine = inputs[key.first]
                aimed = torch.where(doubtful, here + 4 * (mine - here), mine)
                cases.append(tuple(aimed if i == key.first else v for i, v in enumerate(inputs)))
            found += self._settled(key, [partial(self._at, inputs) for inputs in cases])
        return found

    def _within(self, key: Key) -> list[_Point]:
        """Gradients with every intermediate value moved, or those that are zero: all up, all down, or each by chance."""
        found: list[_Point] = []
        for zeros, chance, sign in itertools.product((False, True), (False, True), (1, -1)):
            seed = self.oracle.case.seed if chance else None
            found += self._settled(key, [partial(self._nudged, radius * sign, seed, zeros) for radius in self._radii])
        return found

    def _settled(self, key: Key, runs: Sequence[Callable[[], Pass]]) -> list[_Point]:
        """The gradients of a point, far and close, but for elements that differ: another kink lies between."""
        try:
            wide, narrow = (run().gradients.get(key) for run in runs)
        except Exception:  # outside the domain on this side
            return []
        here = self.oracle.truth().gradients.get(key)
        if wide is None or narrow is None or here is None or not bool(torch.isfinite(wide + narrow).all()):
            return []
        same = _same(wide, narrow)
        return [(torch.where(same, wide, here), torch.where(same, narrow, here))]

    def _at(self, inputs: tuple[Any, ...]) -> Pass:
        return self.oracle.run(torch.float64, case=replace(self.oracle.case, inputs=inputs))

    def _nudged(self, step: float, seed: int | None, zeros: bool) -> Pass:
        return self.oracle.run(torch.float64, moving=MovedIntermediates(step, seed, zeros, bool(self._fixed)))

    def _moves(self, thorough: bool) -> tuple[_Move, ...]:
        if not thorough:
            return _OPPOSITE
        given = enumerate(self.oracle.case.inputs)
        moving = [i for i, v in given if is_differentiable(v) and not v.is_complex() and i not in self._fixed]
        # of two inputs, moving one up is moving the other down
        alone = [_Move(sign, alone=i) for i in moving[: min(INPUTS_MOVED_ALONE.value, len(moving) - 1)] for sign in (1, -1)]
        patterns = [_Move(sign, pattern) for pattern in ("ramp", "random", "mixed") for sign in (1, -1)]
        return (*_OPPOSITE, *alone, *(move for move in patterns if move not in _OPPOSITE))

    def _turns(self) -> list[_Move]:
        tensors = [v for v in self.oracle.case.inputs if is_differentiable(v) and not v.is_complex()]
        length = min(TIED_RANKS.value, max([2, *(n for v in tensors for n in v.shape)]))
        return [_Move(1, "turn", turn=turn, length=length) for turn in range(length)]

    def _moved(self, radius: float, move: _Move) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(self.oracle.case.seed + 1 + len(move.pattern))
        given = self.oracle.case.inputs
        return tuple(
            _beside(v, radius, move, i, generator) if move.alone in (None, i) and i not in self._fixed else v
            for i, v in enumerate(given)
        )

    def _sample(self, radius: float, move: _Move, kept: bool) -> dict[Key, torch.Tensor | None]:
        known = self.oracle.nearby.get((radius, move))
        if known is not None:
            return known
        try:
            found = self._at(self._moved(radius, move)).gradients
        except Exception:  # outside the domain on this side: nothing to learn from there
            found = {}
        if kept:
            self.oracle.nearby[radius, move] = found
        return found


def _chosen(points: list[_Point], within: torch.Tensor | None) -> list[_Point]:
    return points if within is None else [(wide[within], narrow[within]) for wide, narrow in points]


def _same(wide: torch.Tensor, narrow: torch.Tensor) -> torch.Tensor:
    """Which elements of the gradients far and close are the same, so that no other kink lies between."""
    return (wide - narrow).abs() <= SETTLED.value * torch.maximum(wide.abs(), narrow.abs())


def _range(values: torch.Tensor, taken: torch.Tensor) -> _Point:
    """The smallest and the largest of the values taken, along the first axis; zero twice where none is."""
    least = torch.where(taken, values, torch.inf).amin(0)
    most = torch.where(taken, values, -torch.inf).amax(0)
    return least.where(least.isfinite(), torch.zeros_like(least)), most.where(most.isfinite(), torch.zeros_like(most))


@dataclass(frozen=True, slots=True)
class _Move:
    """A small step of the inputs or of one `alone`, up or down.

    The `pattern` is "ramp", ever shorter in memory order, so that of tied values the first wins going up and the last going
    down, as in most conventions; "random" lengths; "mixed", some elements up and the others down; or "turn", a ramp of `length`
    along every axis that is rolled by `turn`.
    """

    sign: int
    pattern: str = "ramp"
    alone: int | None = None
    turn: int = 0
    length: int = 0


# not the same ramp both ways alone: the middle one of tied values has the same rank on either; but a sum of moved values that
# cancel, as of two factors of which each is zero where the other is not, is on opposite sides for opposite moves only
_OPPOSITE = (_Move(1), _Move(-1, "random"), _Move(-1))


def _beside(value: Any, radius: float, move: _Move, slot: int, generator: torch.Generator) -> Any:
    if not is_differentiable(value) or value.is_complex():
        return value
    wide = value.detach().double()
    if move.pattern == "ramp":  # steeper for each further input, so that equal values of two of them are apart
        start = RAMP_START.value + RAMP_PER_INPUT.value * slot
        line = torch.linspace(start, 0.5, max(wide.numel(), 1), dtype=torch.float64)
        step = line[: wide.numel()].reshape(wide.shape) + STEP_PER_INPUT.value * slot
    elif move.pattern == "turn":
        lines = [
            torch.arange(n).reshape([-1 if k == axis else 1 for k in range(wide.ndim)]) for axis, n in enumerate(wide.shape)
        ]
        place = sum(lines, torch.zeros(wide.shape, dtype=torch.long)) + move.turn + slot * (move.length // 2)
        step = (place % move.length).double() - (move.length - 1) / 2 + STEP_PER_VALUE.value * slot
    else:
        step, way = random_lengths(wide, generator), random_signs(wide, generator)
        step = step * way if move.pattern == "mixed" else step
    # one way is shorter, or an even function would look the same on both
    step = step if move.sign > 0 else SHORTER_WAY_BACK.value * step
    return moved(wide, radius, step, size_among(wide))
