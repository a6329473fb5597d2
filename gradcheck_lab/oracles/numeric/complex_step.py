"""The complex step (Squire and Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Rev. 40, 1998).

For a holomorphic f, Im f(x + ihv) / h is the derivative along v to O(h²), without cancellation: h = 1e-24 costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.model.amounts import COMPLEX_STEP
from gradcheck_lab.model.precision import widened
from gradcheck_lab.model.precision.numbers import SAME_FORWARD, SAME_FORWARD_NEAR_ZERO
from gradcheck_lab.oracles.numeric.scalar_problem import Derivative, Directions, Problem, quiet
from gradcheck_lab.oracles.numeric.trust import bounded, verified

METHOD = "complex step"


def directional(problem: Problem, directions: Directions, bound: bool = True) -> Derivative | None:
    """The derivative of the problem's scalar along `directions`, a tensor of the input's shape by input index.

    The error is at the level of rounding; without a `bound`, what simulated rounding would show of it is left out. None where
    it cannot be trusted: inputs that are complex or cannot be made complex, outputs that stay real, a real part that is not the
    forward's value, and a derivative that central differences contradict (a conjugate, a real part, an absolute value, a
    comparison or a cast on the way).
    """
    if not problem.is_wide or any(problem.inputs[i].is_complex() for i in problem.differentiable):
        return None
    if not verified(problem, METHOD, _checked_parts):
        return None
    return bounded(problem, METHOD, directions, lambda inputs: _parts(problem, directions, inputs), bound)


def _checked_parts(problem: Problem, directions: Directions) -> torch.Tensor | None:
    """The derivative of each group, None when the outputs are not those of the real forward or not linear in the step."""
    step, rtol = COMPLEX_STEP.value, SAME_FORWARD.value
    outputs = _outputs(problem, directions, step, copy_inputs(problem.inputs))
    for value, real, weight in zip(outputs, problem.base(), problem.grad_outputs, strict=True):
        if not is_differentiable(real) or not bool(weight.any()):
            continue
        if not value.is_complex() or real.is_complex() or value.shape != real.shape:
            return None
        if not torch.allclose(value.real, real.double(), rtol=rtol, atol=SAME_FORWARD_NEAR_ZERO.value, equal_nan=True):
            return None
    parts = problem.contract(_imaginary(outputs, step))
    wider = problem.contract(_imaginary(_outputs(problem, directions, 8 * step, copy_inputs(problem.inputs)), 8 * step))
    linear = torch.allclose(parts, wider, rtol=rtol, atol=0.0, equal_nan=True)
    return parts if linear else None


def _parts(problem: Problem, directions: Directions, inputs: tuple[Any, ...]) -> torch.Tensor:
    step = COMPLEX_STEP.value
    return problem.contract(_imaginary(_outputs(problem, directions, step, inputs), step))


def _outputs(problem: Problem, directions: Directions, step: float, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    values = list(inputs)
    for index in problem.differentiable:
        real = widened(inputs[index])
        along = directions.get(index)
        shift = torch.zeros_like(real) if along is None else step * widened(along).to(real.device)
        values[index] = torch.complex(real, shift)
    with quiet():
        return problem.run(tuple(values))


def _imaginary(outputs: Sequence[Any], step: float) -> list[torch.Tensor | None]:
    return [o.imag.double() / step if isinstance(o, torch.Tensor) and o.is_complex() else None for o in outputs]
