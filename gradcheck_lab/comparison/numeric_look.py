"""Gradients of a derived call held against numbers: along one direction of all inputs, and further only where that objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.comparison.at_ties import unconserved
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.findings import unconserved_mass
from gradcheck_lab.comparison.located import passed_along_directions
from gradcheck_lab.comparison.numerically import numeric_slot, wrong_structure
from gradcheck_lab.model.limits import ELEMENTS_ONE_BY_ONE_WHERE_WRONG, LOCATED_ELEMENTS
from gradcheck_lab.model.precision import unit_roundoff, widened
from gradcheck_lab.model.precision.numbers import LOCATED_ROUNDINGS, LOOK_TOLERANCE, TOO_NOISY
from gradcheck_lab.oracles.numeric.finite_difference import METHOD, directional
from gradcheck_lab.oracles.numeric.guard import guard
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.subjects.subject import Subject

# "within" and "beyond" the one-sided derivatives at a kink; what is "open" has to be looked at by element
Answer = Literal["agrees", "within", "beyond", "open"]


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
    slots = {i: numeric_slot(subject, i, inputs[i], METHOD) for i in entries}
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
    roundings = [LOCATED_ROUNDINGS.value * unit_roundoff(gradient.dtype) for gradient in finite.values()]
    first = guard(oracle.problem, finite, max(roundings, default=0.0))
    settled = first.agrees and not first.reason
    answers: dict[int, Answer] = dict.fromkeys(finite, "agrees" if settled else "open")
    if not settled and not once:
        answers = {i: _along(oracle, i, gradient) for i, gradient in finite.items()}
    at_kinks = {i: finite[i] for i, answer in answers.items() if answer in ("within", "beyond")}
    parts = [{i: g} for i, g in at_kinks.items()] + ([at_kinks] if len(at_kinks) > 1 else [])
    sums = next(((min(part), both) for part in parts if (both := unconserved(oracle, part)) is not None), None)
    if sums is not None:
        slot = slots[sums[0]]
        mass = unconserved_mass(slot.label, slot.name, *sums[1])
        found.append(Comparison(passed_along_directions(slot, finite[sums[0]]), (mass,)))
    right = [i for i, answer in answers.items() if answer in ("agrees", "within") and (sums is None or i != sums[0])]
    found += [Comparison(passed_along_directions(slots[i], finite[i])) for i in right]
    known = {*right, *([] if sums is None else [sums[0]])}
    return Looked(found, [i for i in numbers if i not in known])


def _along(oracle: NumericOracle, index: int, gradient: torch.Tensor) -> Answer:
    """What the forward says of a gradient along a random direction of its input."""
    answer = _answer(oracle, index, gradient, oracle.problem.random_directions(-11, [index])[index])
    if answer == "open" and bool(oracle.problem.inputs[index].all()):
        # the domain ends close by: steps in proportion to each element stay within it
        return _answer(oracle, index, gradient, oracle.problem.random_directions(-11, [index], relative=True)[index])
    return answer


def _answer(oracle: NumericOracle, index: int, gradient: torch.Tensor, direction: torch.Tensor) -> Answer:
    numeric, weighed = directional(oracle.problem, {index: direction}), oracle.weighed(gradient, direction)
    size = float(torch.linalg.vector_norm(widened(gradient) * widened(direction.to(gradient.device))))
    allowed = weighed.rounding + LOOK_TOLERANCE.value * size
    if numeric.flag == "kink":
        return "within" if numeric.low - allowed <= weighed.measured <= numeric.high + allowed else "beyond"
    if numeric.flag:
        few = gradient.numel() <= ELEMENTS_ONE_BY_ONE_WHERE_WRONG.value
        return "open" if few and _has_derivatives(oracle, index, gradient.numel()) else "agrees"
    if numeric.error > TOO_NOISY.value * max(size, abs(numeric.value)):
        return "agrees"
    return "agrees" if abs(weighed.measured - numeric.value) <= allowed + numeric.error else "open"


def _has_derivatives(oracle: NumericOracle, index: int, elements: int) -> bool:
    """Whether the forward has one-sided derivatives in some element of an input; a few are tried.

    Where it jumps whichever element moves, as a pivot or a rank among equal values does, none can be judged by itself.
    """
    tried = range(0, elements, -(-elements // LOCATED_ELEMENTS.value))
    return any(not any(map(math.isnan, oracle.one_sided(index, element))) for element in tried)
