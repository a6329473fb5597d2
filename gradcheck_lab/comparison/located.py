"""Where a large gradient is wrong, once a numeric directional derivative contradicts it."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from gradcheck_lab.comparison.budget import Judgement
from gradcheck_lab.comparison.compared import Comparison, result_of
from gradcheck_lab.comparison.findings import worst_line
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.model.findings import Finding, GradientResult
from gradcheck_lab.oracles.numeric.oracle import NumericOracle


def passed_along_directions(slot: Slot, gradient: torch.Tensor) -> GradientResult:
    """The result of a gradient that no direction contradicts."""
    judgement = Judgement(True, "element", 0.0, 0.0, None, 0.0, 0.0, 0, gradient.numel(), 0, None)
    return replace(result_of(slot, judgement, gradient, gradient, "pass"), settled_by="directions")


def located(slot: Slot, index: int, gradient: torch.Tensor, oracle: NumericOracle) -> Comparison:
    """The comparison of a gradient that some direction contradicts, with the wrong elements that can be found."""
    found = oracle.locate(index, gradient)
    result = replace(passed_along_directions(slot, gradient), verdict="fail", rule="direction")
    where, many = "", "in some elements"
    if found:
        position, mine, value, error = max(found, key=lambda each: abs(each[1] - each[2]))
        place = tuple(int(k) for k in torch.unravel_index(torch.tensor(position), slot.shape))
        size = abs(mine - value)
        result = replace(
            result,
            worst_index=place,
            actual=mine,
            expected=value,
            allowed=error,
            max_abs_error=size,
            max_rel_error=size / abs(value) if value else math.inf,
            budget_used=size / error if error else math.inf,
            wrong_elements=len(found),
        )
        where = worst_line(result, slot.reference)
        many = f"in at least {len(found)} of {gradient.numel()} elements"
    finding = Finding(
        "wrong-value",
        "error",
        f"gradient of {slot.label} is wrong {many}",
        gradient=slot.name,
        explanation="a directional derivative of the forward contradicts it",
        suggestion="derive the rule again for the worst element, or check a smaller input",
        where=where,
        measured=result.max_abs_error,
        allowed=result.allowed,
    )
    return Comparison(result, (finding,))
