"""Whether an analytic method of differentiation may be trusted on a forward, and how far it may be off.

Central differences have to agree with it; its rounding is seen by simulation (Parker, "Monte Carlo arithmetic", 1997).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.model.precision import widened
from gradcheck_lab.model.precision.numbers import CERTAIN_DIFFERENCES, CERTAIN_NEAR_ZERO, TRUSTED_METHOD
from gradcheck_lab.oracles.autograd.simulated_rounding import SimulatedRounding, perturb
from gradcheck_lab.oracles.numeric.finite_difference import Sweep, sweep
from gradcheck_lab.oracles.numeric.scalar_problem import Derivative, Directions, Problem, rms, scales

Parts = Callable[[Problem, Directions], torch.Tensor | None]


def verified(problem: Problem, method: str, parts: Parts) -> bool:
    """Whether `parts`, the derivative of every group, agrees with central differences along one dense random direction.

    It is tried once per problem; a method that raises, or has nothing sound to be held against, is not trusted.
    """
    key = f"trusts {method}"
    if key not in problem.memory:
        directions = problem.random_directions(-2)
        try:
            found = parts(problem, directions)
        except Exception:  # an operation without such a rule: the next method is tried
            found = None
        problem.memory[key] = found is not None and _agrees(found, _swept(problem, directions))
    trusted: bool = problem.memory[key]
    return trusted


def bounded(
    problem: Problem,
    method: str,
    directions: Directions,
    parts: Callable[[tuple[Any, ...]], torch.Tensor],
    simulate: bool,
) -> Derivative:
    """Sum an analytic derivative of the groups, `parts(inputs)`, its error seen from simulated rounding, if asked for.

    What the simulation cannot see is bounded too: the rounding of the outputs, as an operation of several steps inside makes
    it, and casts to a narrower dtype, by the relative noise of the forward.
    """
    found = parts(copy_inputs(problem.inputs))
    spread = torch.zeros_like(found)
    for salt in (1, 2) if simulate else ():
        given = copy_inputs(problem.inputs)
        inputs = tuple(perturb(v, 2.0**-53, salt) if is_differentiable(v) else v for v in given)
        try:
            with SimulatedRounding(2.0**-53, salt, long_sums=True):
                spread = torch.maximum(spread, (parts(inputs) - found).abs())
        except Exception:  # the simulation does not know every operation
            continue
    size, noise = problem.magnitude(), problem.memory.get("noise")
    total = float(size.sum())
    relative = float(noise.sum()) / total if noise is not None and total > 0 else 0.0
    speed = max((rms(widened(v)) for v in directions.values()), default=0.0)
    length = max(*scales(problem, directions), 1 / speed if speed else 0.0)
    error = 4 * float(spread.sum()) + max(2.0**-50, 4 * relative) * float(found.abs().sum())
    error += 2.0**-49 * float(torch.linalg.vector_norm(size)) / length
    value = float(found.sum())
    return Derivative(value, error, method, "", value - error, value + error)


def _swept(problem: Problem, directions: Directions) -> Sweep:
    if "sweep" not in problem.memory:
        problem.memory["sweep"] = sweep(problem, directions)
    found: Sweep = problem.memory["sweep"]
    return found


def _agrees(parts: torch.Tensor, seen: Sweep) -> bool:
    if seen.flag() or not bool(torch.isfinite(parts).all()):
        return False
    central = seen.central
    size = float(torch.linalg.vector_norm(central.value))
    # whoever detaches, casts or conjugates is off by far more than this
    slack = TRUSTED_METHOD.value * (parts.abs() + size / max(1, parts.numel()) ** 0.5)
    within = (parts - central.value).abs() <= 4 * central.error + slack
    certain = float(central.error.sum()) <= max(CERTAIN_DIFFERENCES.value * size, CERTAIN_NEAR_ZERO.value)
    return bool(within.all()) and certain
