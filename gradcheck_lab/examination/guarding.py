"""Check autograd by a numeric derivative: a forward may detach a value or leave torch, and autograd is then wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.moves import moved, random_normal, size_at_least
from gradcheck_lab.comparison.findings import show
from gradcheck_lab.examination.examined import Examined, NoTruth
from gradcheck_lab.examination.leaving_torch import leaves_torch
from gradcheck_lab.kernels.starting import launches
from gradcheck_lab.model.amounts import BESIDE_THE_CALL, BESIDE_ZERO
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision.budget import CLEARLY_MOVES, LESS_THAN_AGREEMENT
from gradcheck_lab.oracles.autograd.leaves_autograd import leaves_autograd
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.oracles.numeric.finite_difference import directional
from gradcheck_lab.oracles.numeric.guard import Guarded, guard
from gradcheck_lab.oracles.numeric.scalar_problem import inner
from gradcheck_lab.oracles.numeric.wide_problem import problem_of
from gradcheck_lab.subjects.subject import Key

Agreeing = Literal["manual and numeric", "manual and autograd", "no two of them"]


@dataclass(frozen=True, slots=True)
class _DirectionalDerivatives:
    """The derivative along the guard's direction by each of the three, and which two of them agree."""

    manual: float
    autograd: float
    numeric: float
    agreeing: Agreeing


def disconnected(examined: Examined) -> Finding | None:
    """The finding that the output changes with the inputs but autograd has no path to them; None where it does not change."""
    name, runner = examined.subject.name, examined.oracle.runner
    runner.begin(examined.case.seed)
    try:
        problem = problem_of(runner, examined.case)
        found = directional(problem, problem.random_directions(-7))
    except Exception:  # the forward cannot be evaluated at other inputs
        return None
    if found.flag or not math.isfinite(found.value + found.error) or abs(found.value) <= CLEARLY_MOVES.value * found.error:
        return None
    return Finding(
        "disconnected",
        "error",
        f"no output of {name} has a path to an input: its gradients are None",
        explanation=f"the output moves with the inputs, by {show(found.value)} along a random direction, and has no grad_fn",
        suggestion="look for detach, .data, .item(), .numpy() or no_grad in the forward, or wrap it in an autograd.Function",
        measured=abs(found.value),
        allowed=found.error,
    )


def guard_autograd(examined: Examined) -> Examined | NoTruth:
    """Compare the autograd pass with one numeric directional derivative.

    Where the two differ, the numeric oracle has to decide, and this returns `NoTruth`: the forward detaches a value or leaves
    torch, or autograd follows its iterations instead of what they tend to. Only where the hand-written gradient agrees with
    autograd does the verdict become inconclusive.
    """
    first, runner = examined.oracle.truth(), examined.oracle.runner
    gradients = {
        i: g for i, v in enumerate(examined.case.inputs)
        if is_differentiable(v) and (g := first.gradients.get(Key("input", i))) is not None
    }  # fmt: skip
    try:
        found = guard(problem_of(runner, examined.case), gradients)
    except Exception:  # the forward does not run in float64 outside autograd
        return examined
    if found.agrees or found.directions is None:
        return examined
    left = leaves_autograd(runner, examined.case)
    departure = left.part
    if left.conventions and departure != "body":
        return examined.with_findings(_convention_note(left.conventions))
    if departure == "around" and examined.passed:
        if not first.cut and leaves_torch(runner, examined.case):
            return examined.inconclusive_because(
                f"{examined.subject.name} computes a part outside torch, where its gradient cannot be followed, and the output "
                "moves with that part; write it in torch, or pass reference=, the same function in torch"
            )
        return examined.with_findings(
            _never_run_finding(first.cut) if first.cut else _stopped_gradients_note(examined.subject.name)
        )
    if departure is not None:  # code around a rule may detach what the rule differentiates, as with batch normalisation
        return NoTruth("the forward detaches a value or leaves torch, and numbers contradict what is left")
    if _launches_kernels(examined.oracle):
        return NoTruth("its kernels write what autograd does not see")
    derivatives = _directional_derivatives(examined, found)
    if examined.passed and (_is_limit_at_a_kink(examined, derivatives) or _agree_nearby(examined)):
        return examined
    if derivatives.agreeing == "manual and autograd":
        return _inconclusive(examined, derivatives)
    return NoTruth("numbers contradict it", note=_contradiction(derivatives, "numbers decide"))


def _launches_kernels(oracle: AutogradOracle) -> bool:
    """Whether the forward that autograd followed launched interpreted kernels."""
    before = launches()
    if before:
        oracle.run(torch.float64)
    return launches() > before


def _is_limit_at_a_kink(examined: Examined, derivatives: _DirectionalDerivatives) -> bool:
    """Whether, at a kink, the backward returns what the numeric derivative tends to, and autograd alone differs."""
    kinks = any(c.result.settled_by == "subgradient" for c in examined.comparisons)
    return kinks and derivatives.agreeing == "manual and numeric"


def _agree_nearby(examined: Examined) -> bool:
    """Whether autograd and the numeric derivative agree at a random point nearby, so that they differ at these values only.

    At a kink or a tie a central difference is the mean of both sides, which no convention chooses.
    """
    case, oracle = examined.case, examined.oracle
    generator = torch.Generator().manual_seed(case.seed)
    near = replace(case, inputs=tuple(_moved(value, generator) for value in case.inputs))
    try:
        gradients = oracle.run(torch.float64, case=near).gradients
        known = {i: g for i in range(len(case.inputs)) if (g := gradients.get(Key("input", i))) is not None}
        found = guard(problem_of(oracle.runner, near), known)
    except Exception:  # the point is outside the forward's domain
        return False
    return found.agrees and not found.reason


def _moved(value: Any, generator: torch.Generator) -> Any:
    if not is_differentiable(value) or value.is_complex():
        return value
    wide = value.detach().double()
    return moved(wide, BESIDE_THE_CALL.value, random_normal(wide, generator), size_at_least(wide, BESIDE_ZERO.value))


def _contradiction(derivatives: _DirectionalDerivatives, outcome: str) -> Finding:
    return Finding(
        "oracle-disagrees",
        "note",
        f"the oracles contradict each other along one random direction: {_side_by_side(derivatives)}",
        explanation=f"{derivatives.agreeing} agree{outcome and f', so {outcome}'}",
        suggestion="pass reference=, the same function in torch",
    )


def _inconclusive(examined: Examined, derivatives: _DirectionalDerivatives) -> Examined:
    reason = f"the oracles contradict each other ({_side_by_side(derivatives)}): {derivatives.agreeing} agree; pass reference="
    return examined.with_findings(_contradiction(derivatives, "")).inconclusive_because(reason)


def _side_by_side(derivatives: _DirectionalDerivatives) -> str:
    sides = (("manual", derivatives.manual), ("autograd", derivatives.autograd), ("numeric", derivatives.numeric))
    return ", ".join(f"{name} {show(value)}" for name, value in sides)


def _directional_derivatives(examined: Examined, found: Guarded) -> _DirectionalDerivatives:
    returned, directions = examined.returned, found.directions or {}
    usable = all(isinstance(returned[i], torch.Tensor) and returned[i].shape == d.shape for i, d in directions.items())
    value = sum(inner(returned[i].detach(), d) for i, d in directions.items()) if usable else math.nan
    from_numeric, from_autograd = abs(value - found.measured), abs(value - found.expected)
    agreeing: Agreeing = "manual and numeric" if from_numeric <= LESS_THAN_AGREEMENT.value * from_autograd else "no two of them"
    if from_autograd <= LESS_THAN_AGREEMENT.value * from_numeric:
        agreeing = "manual and autograd"
    return _DirectionalDerivatives(value, found.expected, found.measured, agreeing)


def _never_run_finding(rules: tuple[str, ...]) -> Finding:
    names = " and ".join(rules)
    return Finding(
        "disconnected",
        "error",
        f"no gradient reaches {names}: the hand-written backward is never run",
        explanation="its inputs are detached before it, and the output moves with them all the same",
        suggestion=f"take away the detach, .data or .item() before {names}, or put it under no_grad if that is meant",
    )


def _convention_note(conventions: tuple[str, ...]) -> Finding:
    return Finding(
        "oracle-disagrees",
        "note",
        f"{' and '.join(conventions)}, as torch documents",
        explanation="that is not the derivative, which numbers show; autograd does it too and is the reference",
        suggestion="pass reference=, the same function without it, if the derivative is meant",
    )


def _stopped_gradients_note(name: str) -> Finding:
    return Finding(
        "disconnected",
        "note",
        f"{name} stops gradients, with detach, no_grad or the like, at values that depend on its inputs",
        explanation="autograd stops there too and is the reference; numbers, which do not, differ",
        suggestion="pass reference=, the same function without the stop, if the gradient should flow there",
    )
