"""Which oracle decides: autograd on the subject's own forward where it can be followed, else numbers; and contradictions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.randomness import seed_all
from gradcheck_lab.comparison.findings import show
from gradcheck_lab.model.amounts import BESIDE_THE_CALL, BESIDE_ZERO
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision.budget import CLEARLY_MOVES, LESS_THAN_AGREEMENT
from gradcheck_lab.oracles.autograd.leaves_autograd import leaves_autograd
from gradcheck_lab.oracles.autograd.passes import Pass
from gradcheck_lab.oracles.numeric.finite_difference import directional
from gradcheck_lab.oracles.numeric.guard import Guarded, guard
from gradcheck_lab.oracles.numeric.scalar_problem import inner, problem_of
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.subject import Key, Manual

if TYPE_CHECKING:
    from gradcheck_lab.examination.pipeline import Examination

_WITH_NUMBERS = "manual and numeric agree"


def disconnected(examination: Examination) -> Finding | None:
    """The finding that an output moves with the inputs and autograd has no path between them; None where nothing moves."""
    subject = examination.subject
    seed_all(examination.case.seed)
    try:
        problem = problem_of(subject, examination.case, examination.evaluations)
        found = directional(problem, problem.random_directions(-7))
    except Exception:  # it cannot be evaluated: nothing is known
        return None
    if found.flag or not math.isfinite(found.value + found.error) or abs(found.value) <= CLEARLY_MOVES.value * found.error:
        return None
    return Finding(
        "disconnected",
        "error",
        f"no output of {subject.name} has a path to an input: its gradients are None",
        explanation=f"the output moves with the inputs, by {show(found.value)} along a random direction, and has no grad_fn",
        suggestion="look for detach, .data, .item(), .numpy() or no_grad in the forward, or wrap it in an autograd.Function",
        measured=abs(found.value),
        allowed=found.error,
    )


def watched(examination: Examination, manual: Manual, truth: Pass) -> bool:
    """Let one numeric directional derivative guard the autograd pass; False where numbers have to decide in its place.

    Where manual, autograd and numeric contradict each other, the verdict becomes inconclusive and says which two agree;
    where the forward visibly leaves autograd, autograd is simply not the oracle.
    """
    gradients = {
        i: g for i, v in enumerate(examination.case.inputs)
        if is_differentiable(v) and (g := truth.gradients.get(Key("input", i))) is not None
    }  # fmt: skip
    try:
        problem = problem_of(examination.subject, examination.case, examination.evaluations)
        found = guard(problem, gradients)
    except Exception:  # the forward does not run in float64 outside autograd: nothing to guard with
        return True
    if found.agrees or found.directions is None:
        return True
    left = leaves_autograd(examination.subject, examination.case, examination.evaluations)
    if left == "around" and all(c.result.verdict == "pass" for c in examination.comparisons):
        examination.findings.append(_never_run(truth.cut) if truth.cut else _stopped(examination))
        return True
    if left is not None:  # a rule may stand for what the code around it detaches, as one of batch normalisation does
        examination.unfollowed = "the forward detaches a value or leaves torch, and numbers contradict what is left"
        return False
    if _sides_with_numbers(examination, manual, found):
        return True  # autograd's own value at a kink stands alone, and what the backward returns is the limit
    if all(c.result.verdict == "pass" for c in examination.comparisons) and _agrees_beside(examination):
        return True  # at a kink or a tie numbers are the mean of its sides, which is no convention's choice
    if _contradict(examination, manual, found) == _WITH_NUMBERS:
        _withdraw(examination)
    return True


def _sides_with_numbers(examination: Examination, manual: Manual, found: Guarded) -> bool:
    kinks = any(c.result.settled_by == "subgradient" for c in examination.comparisons)
    passed = all(c.result.verdict == "pass" for c in examination.comparisons)
    return kinks and passed and _agreement(manual, found)[1] == _WITH_NUMBERS


def _agrees_beside(examination: Examination) -> bool:
    """Whether autograd and numbers agree at a random point close by, so that they differ at the case's own values only."""
    case = examination.case
    generator = torch.Generator().manual_seed(case.seed)
    moved = replace(case, inputs=tuple(_moved(value, generator) for value in case.inputs))
    try:
        gradients = examination.oracle.run(torch.float64, case=moved).gradients
        known = {i: g for i in range(len(case.inputs)) if (g := gradients.get(Key("input", i))) is not None}
        found = guard(problem_of(examination.subject, moved, examination.evaluations), known)
    except Exception:  # outside the domain
        return False
    return found.agrees and not found.reason


def _moved(value: Any, generator: torch.Generator) -> Any:
    if not is_differentiable(value) or value.is_complex():
        return value
    wide = value.detach().double()
    noise = torch.randn(wide.shape, generator=generator, dtype=torch.float64).to(wide.device)
    return wide + BESIDE_THE_CALL.value * wide.abs().clamp(min=BESIDE_ZERO.value) * noise


def _withdraw(examination: Examination) -> None:
    """Take back what autograd alone called wrong, and leave it open."""
    open_ = [replace(c, result=replace(c.result, verdict="inconclusive"), findings=()) for c in examination.comparisons]
    blamed = {id(f) for c in examination.comparisons for f in c.findings}
    examination.comparisons = open_
    examination.findings = [f for f in examination.findings if id(f) not in blamed]


def _contradict(examination: Examination, manual: Manual, found: Guarded) -> str:
    value, pair = _agreement(manual, found)
    text = f"manual {show(value)}, autograd {show(found.expected)}, numeric {show(found.measured)}"
    examination.findings.append(
        Finding(
            "oracle-disagrees",
            "note",
            f"the oracles contradict each other along one random direction: {text}",
            explanation=pair,
            suggestion="pass reference=, the same function in torch",
        )
    )
    examination.reasons.append(f"the oracles contradict each other ({text}): {pair}; pass reference=")
    return pair


def _agreement(manual: Manual, found: Guarded) -> tuple[float, str]:
    """What the hand-written gradients say along the guard's direction, and with whom that agrees."""
    returned, directions = as_tuple(manual.returned), found.directions or {}
    usable = all(isinstance(returned[i], torch.Tensor) and returned[i].shape == d.shape for i, d in directions.items())
    value = sum(inner(returned[i].detach(), d) for i, d in directions.items()) if usable else float("nan")
    with_numbers, with_autograd = abs(value - found.measured), abs(value - found.expected)
    pair = _WITH_NUMBERS if with_numbers <= LESS_THAN_AGREEMENT.value * with_autograd else "no two of them agree"
    if with_autograd <= LESS_THAN_AGREEMENT.value * with_numbers:
        pair = "manual and autograd agree"
    return value, pair


def _never_run(rules: tuple[str, ...]) -> Finding:
    names = " and ".join(rules)
    return Finding(
        "disconnected",
        "error",
        f"no gradient reaches {names}: the hand-written backward is never run",
        explanation="its inputs are detached before it, and the output moves with them all the same",
        suggestion=f"take away the detach, .data or .item() before {names}, or put it under no_grad if that is meant",
    )


def _stopped(examination: Examination) -> Finding:
    name = examination.subject.name
    return Finding(
        "disconnected",
        "note",
        f"{name} stops gradients, with detach, no_grad or the like, at values that depend on its inputs",
        explanation="autograd stops there too and is the reference; numbers, which do not, differ",
        suggestion="pass reference=, the same function without the stop, if the gradient should flow there",
    )
