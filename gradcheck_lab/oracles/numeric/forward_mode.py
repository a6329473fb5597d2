"""Forward-mode differentiation by dual numbers (Wengert, "A simple automatic derivative evaluation program", CACM 7, 1964),
as `torch.func.jvp` runs it through the forward.
"""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.oracles.numeric.scalar_problem import Derivative, Directions, Problem, quiet
from gradcheck_lab.oracles.numeric.trust import bounded, verified

METHOD = "forward mode"


def directional(problem: Problem, directions: Directions, bound: bool = True) -> Derivative | None:
    """The derivative of the problem's scalar along `directions`, a tensor of the input's shape by input index.

    The error is at the level of rounding; without a `bound`, what simulated rounding would show of it is left out. None where
    the forward is not made of torch functions that have a forward-mode rule, does not take float64, or where central
    differences contradict it (it detaches, or leaves torch).
    """
    if not problem.is_wide or not verified(problem, METHOD, _parts):
        return None
    return bounded(problem, METHOD, directions, lambda inputs: _parts(problem, directions, inputs), bound)


def _parts(problem: Problem, directions: Directions, inputs: tuple[Any, ...] | None = None) -> torch.Tensor:
    given = copy_inputs(problem.inputs) if inputs is None else inputs
    moved = list(directions)
    differentiable = [is_differentiable(output) for output in problem.base()]

    def function(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        everything = list(given)
        for index, value in zip(moved, values, strict=True):
            everything[index] = value
        outputs = problem.forward(tuple(everything), problem.options)
        return tuple(o for o, wanted in zip(outputs, differentiable, strict=True) if wanted)

    primals = tuple(given[i].contiguous() if 0 in given[i].stride() else given[i] for i in moved)
    speeds = tuple(directions[i].to(primal) for i, primal in zip(moved, primals, strict=True))
    problem.runner.begin(problem.seed, forward=1)
    with torch.no_grad(), quiet():
        found = torch.func.jvp(function, primals, speeds)
    tangents = iter(found[1])
    return problem.contract([next(tangents).detach() if wanted else None for wanted in differentiable])
