"""Gradients at ties where a numeric oracle decides: single elements may have no derivative there, and all together have one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.findings import unconserved_mass
from gradcheck_lab.comparison.located import passed_along_directions
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision.numbers import LOOK_TOLERANCE, LOOK_TOLERANCE_AT_MOST
from gradcheck_lab.oracles.numeric.finite_difference import directional
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.oracles.numeric.scalar_problem import inner


def is_not_additive(oracle: NumericOracle, index: int, elements: torch.Tensor) -> bool:
    """Whether the forward's derivatives along the elements do not add up, as those of a median do at ties: it has no gradient.

    Each element alone leaves the median where it is, and all together move it.
    """
    along = oracle.problem.random_directions(-13, [index])
    together = oracle.derivative(along)
    if together.flag or not bool(torch.isfinite(elements).all()):
        return False
    size = oracle.weighed(elements, along[index])
    bound = LOOK_TOLERANCE_AT_MOST.value * max(abs(together.value), size.size * size.step)
    return abs(inner(elements, along[index]) - together.value) > together.error + bound


def by_mass(slot: Slot, index: int, actual: torch.Tensor, oracle: NumericOracle) -> Comparison:
    """The comparison at ties where elements have no derivative of their own: by that along all of them moved alike."""
    result, sums = passed_along_directions(slot, actual), unconserved(oracle, {index: actual})
    if sums is not None:
        return Comparison(replace(result, verdict="fail"), (unconserved_mass(slot.label, slot.name, *sums),))
    text = f"the forward has no derivative in single elements of {slot.label}, as at ties"
    return Comparison(result, (Finding("convention", "note", text, gradient=slot.name),))


def unconserved(oracle: NumericOracle, gradients: Mapping[int, torch.Tensor]) -> tuple[float, float] | None:
    """What the gradients of tied inputs add up to, and the derivative along all of them moved alike; None where these agree.

    Each element may be any subgradient there, and that derivative is unique all the same, unless all meet a kink together.
    """
    real = {i: gradient for i, gradient in gradients.items() if not gradient.is_complex()}
    along = {i: torch.ones_like(oracle.problem.inputs[i]) for i in real}
    together = directional(oracle.problem, along) if real else None
    if together is None or together.flag:
        return None
    weighed = [oracle.weighed(gradient, along[i]) for i, gradient in real.items()]
    mine = sum(each.measured for each in weighed)
    allowed = together.error + sum(each.rounding + LOOK_TOLERANCE.value * each.size * each.step for each in weighed)
    return (mine, together.value) if abs(mine - together.value) > allowed else None
