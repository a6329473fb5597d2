"""The guard: one directional derivative, from two evaluations, against the gradients that another oracle gives.

A forward body under autograd can detach, leave torch, write to what it saved or be wrong (torch's own CTC loss on a log-prob
leaf is a real case). The guard speaks up only when the whole sweep of steps confirms the first look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from gradcheck_lab.model.amounts import LOOK_STEP
from gradcheck_lab.model.precision import widened
from gradcheck_lab.model.precision.numbers import (
    BELOW_INNER_ROUNDING,
    CONFIRMED_CONTRADICTION,
    LOOK_TOLERANCE,
    LOOK_TOLERANCE_AT_MOST,
    LOOK_TOLERANCE_PER_ELEMENT,
    TOO_NOISY,
)
from gradcheck_lab.oracles.numeric.finite_difference import directional
from gradcheck_lab.oracles.numeric.scalar_problem import Derivative, Directions, Problem, inner


@dataclass(frozen=True, slots=True)
class Guarded:
    """Whether gradients agree with the forward along `directions`; where that could not be seen they do, with a `reason`."""

    agrees: bool
    measured: float
    expected: float
    error: float
    reason: str = ""
    directions: Directions | None = None


def guard(problem: Problem, gradients: Mapping[int, torch.Tensor], rounding: float = 0.0) -> Guarded:
    """Compare gradients, by input index, with one central difference along a random direction of all these inputs.

    Two evaluations when they agree, to 1e-6 of their size, 1e-3 for the largest inputs; else as many as a sweep takes. Abstains
    at kinks and jumps, where the forward is not finite, and where it computes in less than float64. `rounding`, relative, is
    what each element of the gradients may be off by.
    """
    if not gradients:
        return Guarded(True, 0.0, 0.0, 0.0, "there is no gradient to compare")
    if not problem.is_wide:
        return Guarded(True, math.nan, math.nan, math.inf, "the forward does not take float64, too coarse for differences")
    drawn = problem.random_directions(-5, list(gradients))
    directions = {i: _within_symmetry(problem.inputs[i], along) for i, along in drawn.items()}
    expected = sum(inner(gradient, directions[i]) for i, gradient in gradients.items())
    size = math.hypot(*(_weight(gradient, directions[i]) for i, gradient in gradients.items()))
    count = sum(gradient.numel() for gradient in gradients.values())
    if not math.isfinite(expected):
        return Guarded(True, math.nan, expected, math.inf, "the gradients are not finite", directions)
    share = LOOK_TOLERANCE.value + LOOK_TOLERANCE_PER_ELEMENT.value * count
    tolerance = (min(LOOK_TOLERANCE_AT_MOST.value, share) + rounding) * size
    measured, noise = _difference(problem, directions)
    if abs(measured - expected) <= tolerance + noise:
        return Guarded(True, measured, expected, tolerance + noise, "", directions)
    if max(abs(measured), abs(expected)) <= BELOW_INNER_ROUNDING.value * _upstream(problem):
        return Guarded(
            True, measured, expected, math.inf, "the derivative is below the rounding inside the forward", directions
        )
    return _judged(directional(problem, directions), expected, size, directions)


def _judged(found: Derivative, expected: float, size: float, directions: Directions) -> Guarded:
    if found.flag:
        what = "is not finite" if found.flag == "non-finite" else f"has a {found.flag}"
        reason = f"the forward {what} next to these inputs"
        return Guarded(True, found.value, expected, math.inf, reason, directions)
    allowed = found.error + CONFIRMED_CONTRADICTION.value * size
    if abs(found.value - expected) <= allowed:
        return Guarded(True, found.value, expected, allowed, "", directions)
    if found.error > TOO_NOISY.value * max(size, abs(found.value)):
        return Guarded(True, found.value, expected, allowed, "differences of this forward are too noisy", directions)
    return Guarded(False, found.value, expected, allowed, "", directions)


def _difference(problem: Problem, directions: Directions) -> tuple[float, float]:
    """One central difference and its rounding; NaN where the forward cannot be evaluated beside the inputs."""
    step = LOOK_STEP.value
    try:
        up = problem.run(problem.moved(step, directions))
        down = problem.run(problem.moved(-step, directions))
    except Exception:  # outside its domain a forward may raise
        return math.nan, 0.0
    changes, sizes = [], []
    for a, b in zip(up, down, strict=True):
        usable = isinstance(a, torch.Tensor) and (a.is_floating_point() or a.is_complex()) and a.shape == b.shape
        changes.append(widened(a) - widened(b) if usable else None)
        sizes.append(a if usable else None)
    total = float(problem.contract(changes).sum())
    rounding = 2.0**-50 * float(problem.contract_sizes(sizes).sum())
    return total / (2 * step), rounding / (2 * step) if math.isfinite(rounding) else 0.0


def _upstream(problem: Problem) -> float:
    """The sum of |grad_output|: what the forward's steps of size 1, wherever they cancel, contribute to the scalar."""
    return sum(float(widened(g).abs().sum()) for g in problem.grad_outputs if g.is_floating_point() or g.is_complex())


def _within_symmetry(value: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Keep a symmetric matrix symmetric: Cholesky and its like read one triangle, and their gradients know of both."""
    if value.dim() < 2 or value.shape[-1] != value.shape[-2] or not torch.equal(value, value.mH):
        return direction
    return (direction + direction.mH) / 2


def _weight(gradient: torch.Tensor, direction: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(widened(gradient) * widened(direction.to(gradient.device))))
