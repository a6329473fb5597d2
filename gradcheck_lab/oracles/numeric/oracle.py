"""The numeric oracle: derivatives of a forward that autograd cannot follow, from evaluating it.

A gradient of n elements is held against a few random directional derivatives; where one contradicts it, the wrong elements are
found by halving. The cost does not depend on n until something is wrong, and then it is O(k log n) for k wrong elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.model.limits import LOCATED_ELEMENTS
from gradcheck_lab.model.precision import unit_roundoff, widened
from gradcheck_lab.model.precision.budget import REFERENCE_ERRORS
from gradcheck_lab.model.precision.numbers import LOCATED_ROUNDINGS
from gradcheck_lab.oracles.estimate import Estimate
from gradcheck_lab.oracles.numeric import complex_step, finite_difference, forward_mode
from gradcheck_lab.oracles.numeric.scalar_problem import Derivative, Directions, Problem, inner, power_of_two
from gradcheck_lab.oracles.numeric.wide_problem import problem_of
from gradcheck_lab.subjects.runner import Runner

Method = Callable[[Problem, Directions, bool], Derivative | None]
Located = tuple[int, complex | float, complex | float, float]

_ANALYTIC: tuple[tuple[str, Method], ...] = (
    (complex_step.METHOD, complex_step.directional),
    (forward_mode.METHOD, forward_mode.directional),
)
_LAST_RESORT: tuple[str, Method] = (
    finite_difference.METHOD,
    lambda problem, directions, bound: finite_difference.directional(problem, directions),
)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A direction along which a gradient says something else than the forward does; all in the unit of the scalar."""

    index: int
    manual: float
    numeric: Derivative
    allowed: float
    direction: torch.Tensor


@dataclass(frozen=True, slots=True)
class Weighed:
    """A gradient along a direction: the derivative `measured`, its `rounding`, and the typical elements of both."""

    measured: float
    rounding: float
    step: float
    size: float


class NumericOracle:
    """Estimates gradients of a subject's forward on a case by the best method that can be trusted there.

    `sensitivity` holds, after `check_directions`, the smallest error in one element that a direction would have shown, relative
    to the root mean square of the gradient, by input; `unseen` why directions of an input could not decide.

    Raises what the forward raises on the case's inputs.

    >>> from gradcheck_lab import ops
    >>> from gradcheck_lab.subjects.op import adapt_op
    >>> a, b = torch.tensor([0.5, 2.0]), torch.tensor([3.0, -1.0])
    >>> subject = adapt_op(ops.mul, (a, b), {})
    >>> oracle = NumericOracle(Runner(subject), Case((a, b), {}, (torch.ones(2),)))
    >>> oracle.method, oracle.gradient(0).value
    ('complex step', tensor([ 3., -1.], dtype=torch.float64))
    """

    def __init__(self, runner: Runner, case: Case) -> None:
        self.problem = problem_of(runner, case, lifts=True)
        self.sensitivity: dict[int, float] = {}
        self.unseen: dict[int, str] = {}
        self._chosen: tuple[str, Method] | None = None

    @property
    def method(self) -> str:
        """The method that is used: the first that can be trusted on this forward."""
        return self._choose()[0]

    def _choose(self) -> tuple[str, Method]:
        if self._chosen is None:
            along = self.problem.random_directions(-3)
            self._chosen = _LAST_RESORT
            for name, method in _ANALYTIC if along else ():
                if method(self.problem, along, False) is not None:
                    self._chosen = name, method
                    break
        return self._chosen

    @property
    def gives_nan(self) -> bool:
        """Whether the forward itself gives NaN at these inputs: what goes into that has no derivative."""
        return any(is_differentiable(o) and bool(torch.isnan(o).any()) for o in self.problem.base())

    def holding(self, index: int, still: torch.Tensor) -> NumericOracle:
        """The same oracle along directions in which these elements of an input do not move."""
        held = copy(self)
        held.problem = replace(self.problem, still={**self.problem.still, index: still}, memory={})
        held.sensitivity, held.unseen, held._chosen = self.sensitivity, self.unseen, None
        return held

    def with_longer_steps(self) -> NumericOracle:
        """An oracle whose differences also take steps as long as whole inputs: what is linear has its derivative there to all
        digits, where a forward that computes in float32 inside drowns shorter ones in rounding."""
        return self.of(replace(self.problem, longer_steps=True, memory={}))

    def of(self, problem: Problem) -> NumericOracle:
        """An oracle for another problem, which has found out nothing yet."""
        other = copy(self)
        other.problem, other.sensitivity, other.unseen, other._chosen = problem, {}, {}, None
        return other

    def derivative(self, directions: Directions) -> Derivative:
        """The derivative of Σ Re⟨grad_output, output⟩ along `directions`, a tensor of the input's shape by input index."""
        found = self._choose()[1](self.problem, directions, True)
        if found is None or not math.isfinite(found.value + found.error):
            return finite_difference.directional(self.problem, directions)
        return found

    def value(self, directions: Directions) -> float:
        """The derivative without its error bound, which costs twice as much again; NaN where only differences give it."""
        name, method = self._choose()
        found = None if name == finite_difference.METHOD else method(self.problem, directions, False)
        return math.nan if found is None else found.value

    def one_sided(self, index: int, element: int, imaginary: bool = False) -> tuple[float, float]:
        """The left and right derivatives in one element, a flat position, of an input; NaN where there is none.

        Of a complex element in its real or `imaginary` part. They are found once.
        """
        known = self._sides()
        if (index, element, imaginary) not in known:
            unit = self._unit(index, element)
            sides = finite_difference.one_sided(self.problem, {index: 1j * unit if imaginary else unit})
            known[index, element, imaginary] = sides
        return known[index, element, imaginary]

    def _sides(self) -> dict[tuple[int, int, bool], tuple[float, float]]:
        """The one-sided derivatives that are known, by input, element and part."""
        known: dict[tuple[int, int, bool], tuple[float, float]] = self.problem.memory.setdefault("sides", {})
        return known

    def gradient(self, index: int) -> Estimate:
        """The whole gradient of an input, element by element; NaN where it has a kink, a jump or no finite neighbours.

        The error is that of the worst element. It is found once.
        """
        known: dict[int, Estimate] = self.problem.memory.setdefault("gradients", {})
        if index not in known:
            known[index] = self._by_element(index)
        return known[index]

    def _by_element(self, index: int) -> Estimate:
        value = widened(torch.zeros_like(self.problem.inputs[index])).reshape(-1)
        worst = 0.0
        for element in range(value.numel()):
            number, error = self._element(index, element)
            value[element] = torch.tensor(number, dtype=value.dtype)
            worst = max(worst, error if math.isfinite(error) else 0.0)
        shaped = value.reshape(self.problem.inputs[index].shape)
        return Estimate(shaped, 0.0, self.method, absolute_error=worst)

    def check_directions(
        self, manual: Mapping[int, torch.Tensor], count: int = 3, noise: Callable[[], Sequence[torch.Tensor]] = tuple
    ) -> list[Disagreement]:
        """Hold hand-written gradients, by input index, against `count` random signed directions of each input.

        `noise` are samples of what rounding does to the gradient, asked for where a direction contradicts it.
        An error in one element of n shows when it is larger than the allowance over the element's share of the direction:
        about allowed * sqrt(n) / |g| of the typical element, kept in `sensitivity`.
        """
        found: list[Disagreement] = []
        for index, gradient in manual.items():
            undecided, allowed = [], []
            for salt in range(count):
                along = self.problem.random_directions(1 + salt + 1000 * index, [index])
                weighed = self.weighed(gradient, along[index])
                if abs(self.value(along) - weighed.measured) <= weighed.rounding:
                    # both agree to rounding, and a wide bound of the estimate would take nothing away from that
                    allowed.append(weighed.rounding / weighed.step)
                    continue
                disagreement, numeric, bound = self._compare(index, gradient, along[index])
                off, rounding = abs(inner(gradient, along[index]) - numeric.value), bound - numeric.error
                if not numeric.flag and off > rounding:
                    rounding += _along(noise(), along[index])
                if numeric.flag:
                    undecided.append(numeric.flag)
                else:
                    allowed.append((rounding if off <= rounding else bound) / _typical(along[index]))
                if disagreement is not None and (numeric.flag or off > rounding + numeric.error):
                    found.append(disagreement)
            if undecided:
                self.unseen[index] = f"{len(undecided)} of {count} directions meet a {undecided[0]} of the forward"
            size = _typical(gradient)
            if allowed and size > 0:
                self.sensitivity[index] = max(allowed) / size
        return found

    def locate(self, index: int, manual: torch.Tensor, limit: int | None = None) -> list[Located]:
        """The wrong elements of a gradient, `limit` at most: (flat position, manual value, numeric value, error).

        Halves blocks of coordinates, each probed along random signs and sizes, so O(k log n) evaluations for k elements.
        """
        limit = LOCATED_ELEMENTS.value if limit is None else limit
        generator = torch.Generator().manual_seed(self.problem.seed + 7919)
        waiting: list[tuple[int, int]] = [(0, manual.numel())]
        found: list[Located] = []
        while waiting and len(found) < limit:
            start, stop = waiting.pop()
            if stop - start == 1:
                value, error = self._element(index, start)
                mine = _number(manual.reshape(-1)[start])
                u = max(unit_roundoff(manual.dtype), self.problem.own_roundoff)
                allowed = error + LOCATED_ROUNDINGS.value * u * abs(mine)
                if not math.isfinite(error) or not abs(mine - value) <= allowed:
                    found.append((start, mine, value, error))
                continue
            middle = (start + stop) // 2
            halves = [(middle, stop), (start, middle)]
            wrong = [half for half in halves if self._is_wrong(index, manual, half, generator)]
            # errors of either half may have cancelled; both are looked into when neither shows
            waiting += wrong or [half for half in halves if self._is_wrong(index, manual, half, generator)]
        return sorted(found, key=lambda each: each[0])

    def _is_wrong(self, index: int, manual: torch.Tensor, block: tuple[int, int], generator: torch.Generator) -> bool:
        whole = widened(torch.zeros_like(self.problem.inputs[index])).reshape(-1)
        whole[block[0] : block[1]] = random_like(whole[block[0] : block[1]], generator)
        along = whole.reshape(manual.shape) * power_of_two(_typical(self.problem.inputs[index]))
        return self._compare(index, manual, along)[0] is not None

    def weighed(self, manual: torch.Tensor, direction: torch.Tensor) -> Weighed:
        """What a hand-written gradient says of a direction, and what its rounding makes of that."""
        weight = float(torch.linalg.vector_norm(widened(manual) * widened(direction.to(manual.device))))
        rounding = LOCATED_ROUNDINGS.value * max(unit_roundoff(manual.dtype), self.problem.own_roundoff) * weight
        return Weighed(inner(manual, direction), rounding, _typical(direction), _typical(manual))

    def _compare(
        self, index: int, manual: torch.Tensor, direction: torch.Tensor
    ) -> tuple[Disagreement | None, Derivative, float]:
        numeric, weighed = self.derivative({index: direction}), self.weighed(manual, direction)
        measured, rounding = weighed.measured, weighed.rounding
        allowed = rounding + (0.0 if numeric.flag else numeric.error)
        if numeric.flag in ("jump", "non-finite"):
            return None, numeric, allowed
        low, high = (numeric.low, numeric.high) if numeric.flag else (numeric.value - allowed, numeric.value + allowed)
        if low - rounding <= measured <= high + rounding:
            return None, numeric, allowed
        return Disagreement(index, measured, numeric, allowed, direction), numeric, allowed

    def _element(self, index: int, element: int) -> tuple[complex | float, float]:
        unit = self._unit(index, element)
        real = self.derivative({index: unit})
        if real.flag:
            self._sides()[index, element, False] = real.sides
            return complex(math.nan, math.nan) if unit.is_complex() else math.nan, math.inf
        if not unit.is_complex():
            return real.value, real.error
        imaginary = self.derivative({index: 1j * unit})
        if imaginary.flag:
            self._sides()[index, element, True] = imaginary.sides
            return complex(math.nan, math.nan), math.inf
        return complex(real.value, imaginary.value), real.error + imaginary.error

    def _unit(self, index: int, element: int) -> torch.Tensor:
        unit = widened(torch.zeros_like(self.problem.inputs[index])).reshape(-1)
        unit[element] = 1
        return unit.reshape(self.problem.inputs[index].shape)


def _along(noise: Sequence[torch.Tensor], direction: torch.Tensor) -> float:
    """What samples of rounding may do to a derivative along a direction."""
    found = [widened(each) * widened(direction.to(each.device)).conj() for each in noise]
    sizes = [max(abs(complex(each.sum())), float(torch.linalg.vector_norm(each))) for each in found]
    return REFERENCE_ERRORS.value * max([size for size in sizes if math.isfinite(size)], default=0.0)


def _typical(value: torch.Tensor) -> float:
    if not value.numel():
        return 1.0
    return float(torch.linalg.vector_norm(widened(value))) / math.sqrt(value.numel())


def _number(value: torch.Tensor) -> complex | float:
    found = value.item()
    return found if isinstance(found, complex) else float(found)
