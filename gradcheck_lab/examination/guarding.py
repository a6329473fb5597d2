"""A numeric derivative guards autograd: a forward body may detach, mutate or be wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.moves import moved, random_normal, size_at_least
from gradcheck_lab.comparison.findings import show
from gradcheck_lab.examination.examined import Examined, NoTruth
from gradcheck_lab.model.amounts import BESIDE_THE_CALL, BESIDE_ZERO
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision.budget import CLEARLY_MOVES, LESS_THAN_AGREEMENT
from gradcheck_lab.oracles.autograd.leaves_autograd import leaves_autograd
from gradcheck_lab.oracles.numeric.finite_difference import directional
from gradcheck_lab.oracles.numeric.guard import Guarded, guard
from gradcheck_lab.oracles.numeric.scalar_problem import inner, problem_of
from gradcheck_lab.subjects.subject import Key

Agreeing = Literal["manual and numeric", "manual and autograd", "no two of them"]


@dataclass(frozen=True, slots=True)
class _Voices:
    """What each side says along the guard's direction, and which two of them agree."""

    manual: float
    autograd: float
    numeric: float
    agreeing: Agreeing


def disconnected(examined: Examined) -> Finding | None:
    """The finding that an output moves with the inputs and autograd has no path between them; None where nothing moves."""
    name, runner = examined.subject.name, examined.oracle.runner
    runner.begin(examined.case.seed)
    try:
        problem = problem_of(runner, examined.case)
        found = directional(problem, problem.random_directions(-7))
    except Exception:  # it cannot be evaluated: nothing is known
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


def guarded(examined: Examined) -> Examined | NoTruth:
    """Let one numeric directional derivative guard the autograd pass; `NoTruth` where numbers have to decide in its place.

    Where manual, autograd and numeric contradict each other, the verdict becomes inconclusive and says which two agree;
    where the forward visibly leaves autograd, autograd is simply not the oracle.
    """
    first, runner = examined.oracle.truth(), examined.oracle.runner
    gradients = {
        i: g for i, v in enumerate(examined.case.inputs)
        if is_differentiable(v) and (g := first.gradients.get(Key("input", i))) is not None
    }  # fmt: skip
    try:
        found = guard(problem_of(runner, examined.case), gradients)
    except Exception:  # the forward does not run in float64 outside autograd: nothing to guard with
        return examined
    if found.agrees or found.directions is None:
        return examined
    left = leaves_autograd(runner, examined.case)
    if left == "around" and examined.passed:
        return examined.found(_never_run(first.cut) if first.cut else _stopped(examined.subject.name))
    if left is not None:  # a rule may stand for what the code around it detaches, as one of batch normalisation does
        return NoTruth("the forward detaches a value or leaves torch, and numbers contradict what is left")
    voices = _voices(examined, found)
    if examined.passed and (_is_limit_at_a_kink(examined, voices) or _agree_beside(examined)):
        return examined
    return _contradicted(examined, voices)


def _is_limit_at_a_kink(examined: Examined, voices: _Voices) -> bool:
    """Whether autograd's own value at a kink stands alone, and what the backward returns is the limit."""
    kinks = any(c.result.settled_by == "subgradient" for c in examined.comparisons)
    return kinks and voices.agreeing == "manual and numeric"


def _agree_beside(examined: Examined) -> bool:
    """Whether autograd and numbers agree at a random point close by, so that they differ at the case's own values only.

    At a kink or a tie numbers are the mean of its sides, which is no convention's choice.
    """
    case, oracle = examined.case, examined.oracle
    generator = torch.Generator().manual_seed(case.seed)
    near = replace(case, inputs=tuple(_moved(value, generator) for value in case.inputs))
    try:
        gradients = oracle.run(torch.float64, case=near).gradients
        known = {i: g for i in range(len(case.inputs)) if (g := gradients.get(Key("input", i))) is not None}
        found = guard(problem_of(oracle.runner, near), known)
    except Exception:  # outside the domain
        return False
    return found.agrees and not found.reason


def _moved(value: Any, generator: torch.Generator) -> Any:
    if not is_differentiable(value) or value.is_complex():
        return value
    wide = value.detach().double()
    return moved(wide, BESIDE_THE_CALL.value, random_normal(wide, generator), size_at_least(wide, BESIDE_ZERO.value))


def _contradicted(examined: Examined, voices: _Voices) -> Examined:
    """Say that the oracles contradict each other; what autograd alone calls wrong is taken back."""
    text = f"manual {show(voices.manual)}, autograd {show(voices.autograd)}, numeric {show(voices.numeric)}"
    pair = f"{voices.agreeing} agree"
    note = Finding(
        "oracle-disagrees",
        "note",
        f"the oracles contradict each other along one random direction: {text}",
        explanation=pair,
        suggestion="pass reference=, the same function in torch",
    )
    reason = f"the oracles contradict each other ({text}): {pair}; pass reference="
    base = _without_blame(examined) if voices.agreeing == "manual and numeric" else examined
    return base.found(note).left_open(reason)


def _without_blame(examined: Examined) -> Examined:
    blamed = {id(f) for c in examined.comparisons for f in c.findings}
    return replace(
        examined,
        comparisons=tuple(
            replace(c, result=replace(c.result, verdict="inconclusive"), findings=()) for c in examined.comparisons
        ),
        findings=tuple(f for f in examined.findings if id(f) not in blamed),
    )


def _voices(examined: Examined, found: Guarded) -> _Voices:
    returned, directions = examined.returned, found.directions or {}
    usable = all(isinstance(returned[i], torch.Tensor) and returned[i].shape == d.shape for i, d in directions.items())
    value = sum(inner(returned[i].detach(), d) for i, d in directions.items()) if usable else math.nan
    with_numbers, with_autograd = abs(value - found.measured), abs(value - found.expected)
    agreeing: Agreeing = "manual and numeric" if with_numbers <= LESS_THAN_AGREEMENT.value * with_autograd else "no two of them"
    if with_autograd <= LESS_THAN_AGREEMENT.value * with_numbers:
        agreeing = "manual and autograd"
    return _Voices(value, found.expected, found.measured, agreeing)


def _never_run(rules: tuple[str, ...]) -> Finding:
    names = " and ".join(rules)
    return Finding(
        "disconnected",
        "error",
        f"no gradient reaches {names}: the hand-written backward is never run",
        explanation="its inputs are detached before it, and the output moves with them all the same",
        suggestion=f"take away the detach, .data or .item() before {names}, or put it under no_grad if that is meant",
    )


def _stopped(name: str) -> Finding:
    return Finding(
        "disconnected",
        "note",
        f"{name} stops gradients, with detach, no_grad or the like, at values that depend on its inputs",
        explanation="autograd stops there too and is the reference; numbers, which do not, differ",
        suggestion="pass reference=, the same function without the stop, if the gradient should flow there",
    )
