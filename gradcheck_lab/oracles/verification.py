"""Whether an analytic method of differentiation may be trusted on a forward: central differences have to agree with it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from gradcheck_lab.oracles.directional import Directions, Problem
from gradcheck_lab.oracles.finite_difference import Sweep, sweep

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
    slack = 1e-6 * (parts.abs() + size / max(1, parts.numel()) ** 0.5)
    within = (parts - central.value).abs() <= 4 * central.error + slack
    certain = float(central.error.sum()) <= max(0.1 * size, 1e-6)
    return bool(within.all()) and certain
