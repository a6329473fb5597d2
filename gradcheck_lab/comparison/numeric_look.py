"""Gradients of a derived call held against numbers: along one direction of all inputs, and further only where that objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.findings import unconserved_mass
from gradcheck_lab.comparison.located import passed_along_directions
from gradcheck_lab.comparison.numerically import numeric_slot, wrong_structure
from gradcheck_lab.model.limits import ELEMENTS_ONE_BY_ONE_WHERE_WRONG
from gradcheck_lab.model.precision import widened
from gradcheck_lab.model.precision.numbers import LOOK_TOLERANCE, TOO_NOISY
from gradcheck_lab.oracles.numeric.finite_difference import directional
from gradcheck_lab.oracles.numeric.guard import guard
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.oracles.numeric.scalar_problem import Derivative
from gradcheck_lab.subjects.subject import Subject

Answer = Literal["agrees", "kink", "contradicts", "open"]


@dataclass(frozen=True, slots=True)
class Looked:
    """The comparisons that a first look settles, and the inputs, by index, that have to be looked at by element."""

    comparisons: list[Comparison]
    by_element: list[int]


def look(
    subject: Subject, inputs: Sequence[Any], entries: Mapping[int, Any], oracle: NumericOracle, once: bool = False
) -> Looked:
    """Hold what a backward returned, by input index, against one directional derivative of the forward.

    Where that contradicts, or meets a kink, each input has a direction of its own. A gradient is right there where it is the
    derivative or, at a kink, between the one-sided ones. At ties, where each element may be any subgradient, the derivative
    along all elements moved alike is unique all the same. Gradients that are not finite are looked at by element. With `once`
    the first derivative is the only one, and what it objects to is left to be looked at by element.
    """
    found, numbers = list[Comparison](), dict[int, torch.Tensor]()
    slots = {i: numeric_slot(subject, i, inputs[i], oracle) for i in entries}
    for index, actual in entries.items():
        structured = wrong_structure(slots[index], actual)
        if structured is not None:
            found.append(structured)
        else:
            slot = slots[index]
            blank = torch.zeros(slot.shape, dtype=slot.dtype, device=slot.device)
            numbers[index] = blank if actual is None else actual.detach()
    if not all(bool(torch.isfinite(o).all()) for o in oracle.problem.base() if is_differentiable(o)):
        return Looked(found, [])  # what is not finite has no derivative
    finite = {i: g for i, g in numbers.items() if bool(torch.isfinite(g).all())}
    first = guard(oracle.problem, finite)
    settled = first.agrees and not first.reason
    answers = {i: "agrees" if settled else "open" if once else _alone(oracle, i, g) for i, g in finite.items()}
    for index, answer in answers.items():
        slot, passed = slots[index], passed_along_directions(slots[index], finite[index])
        if answer == "agrees":
            found.append(Comparison(passed))
        elif not isinstance(answer, str):
            measured, numeric = answer
            found.append(Comparison(passed, (unconserved_mass(slot.label, slot.name, measured, numeric.value),)))
    return Looked(found, [i for i in numbers if answers.get(i, "open") == "open"])


def _alone(oracle: NumericOracle, index: int, gradient: torch.Tensor) -> str | tuple[float, Derivative]:
    """Whether a gradient "agrees" with numbers, or is "open"; the two sums of its elements where these do not agree at ties."""
    along = oracle.problem.random_directions(-11, [index])[index]
    answer, _, numeric = _along(oracle, index, gradient, along)
    if answer == "open" and bool(oracle.problem.inputs[index].all()):
        # the domain ends close by: steps in proportion to each element stay within it
        answer = _along(oracle, index, gradient, oracle.problem.random_directions(-11, [index], relative=True)[index])[0]
    if answer == "agrees" or not numeric.flag or gradient.is_complex():
        return "agrees" if answer in ("agrees", "kink") else "open"
    alike, measured, numeric = _along(oracle, index, gradient, torch.ones_like(along))
    if alike == "contradicts" and not numeric.flag:
        return measured, numeric
    return "agrees" if answer == "kink" else "open"


def _along(
    oracle: NumericOracle, index: int, gradient: torch.Tensor, direction: torch.Tensor
) -> tuple[Answer, float, Derivative]:
    numeric, weighed = directional(oracle.problem, {index: direction}), oracle.weighed(gradient, direction)
    measured = weighed.measured
    size = float(torch.linalg.vector_norm(widened(gradient) * widened(direction.to(gradient.device))))
    allowed = weighed.rounding + LOOK_TOLERANCE.value * size

    def answer() -> Answer:
        if numeric.flag == "kink":
            return "kink" if numeric.low - allowed <= measured <= numeric.high + allowed else "contradicts"
        if numeric.flag:
            return "open" if gradient.numel() <= ELEMENTS_ONE_BY_ONE_WHERE_WRONG.value else "agrees"
        if numeric.error > TOO_NOISY.value * max(size, abs(numeric.value)):
            return "agrees"
        return "agrees" if abs(measured - numeric.value) <= allowed + numeric.error else "contradicts"

    return answer(), measured, numeric
