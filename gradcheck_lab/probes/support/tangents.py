"""Tangents sent through a Function's own forward-mode rule, and <g, J v> held against <Jᵀ g, v>."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.calls.randomness import draws_random
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.model.amounts import ALIGNED_SALT
from gradcheck_lab.model.precision import unit_roundoff, widened
from gradcheck_lab.model.precision.budget import REFERENCE_ERRORS, SAME_ROUNDINGS, SAME_ROUNDINGS_16_BITS
from gradcheck_lab.oracles.numeric.finite_difference import directional
from gradcheck_lab.oracles.numeric.scalar_problem import Directions, inner, problem_of, quiet
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.repeats import compared
from gradcheck_lab.subjects.subject import Key


@dataclass(frozen=True, slots=True)
class Lane:
    """One precision in which the rule is run; `gradients` are Jᵀ g in float64, by input."""

    inputs: tuple[Any, ...]
    grad_outputs: tuple[torch.Tensor, ...]
    gradients: Mapping[int, torch.Tensor]
    roundoff: float
    words: str = ""


@dataclass(frozen=True, slots=True)
class Product:
    """<g, J v> as the rule says, <Jᵀ g, v>, and how far they may be apart."""

    tangents: Directions
    measured: float
    expected: float
    allowed: float

    @property
    def wrong(self) -> bool:
        return not abs(self.measured - self.expected) <= self.allowed


def lanes(context: Context) -> Iterator[Lane]:
    """The inputs as they are; then in float64, where they are narrower and the oracle took that, and rounding hides nothing."""
    case, wide = context.case, None
    roundoff = max(unit_roundoff(case.inputs[i].dtype) for i in compared(context))
    found: list[Any] = list(context.gradients)
    if context.analytic:
        truth = context.oracle.truth()
        found = [truth.gradients.get(Key("input", i)) for i in range(len(case.inputs))]
        wide = truth if not context.oracle.truth_roundoff and roundoff > 2.0**-53 else None
    elif context.wrong:
        return
    gradients = {i: _gradient(found[i], case.inputs[i]) for i in compared(context)}
    if any(g.shape != case.inputs[i].shape or not bool(torch.isfinite(g).all()) for i, g in gradients.items()):
        return
    yield Lane(case.inputs, case.grad_outputs or (), gradients, roundoff)
    if wide is not None and not draws_random(case.seed):
        inputs = tuple(v.detach() if isinstance(v, torch.Tensor) else v for v in wide.inputs)
        yield Lane(inputs, wide.upstream, gradients, 2.0**-53, ", in float64")


def _gradient(found: Any, value: torch.Tensor) -> torch.Tensor:
    return widened(found.detach() if isinstance(found, torch.Tensor) else torch.zeros_like(value))


def product(context: Context, lane: Lane, indices: list[int], salt: int) -> Product:
    tangents = _tangents(context, lane, indices, salt)
    along = _tangents_of(context, lane, tangents)
    measured, size = 0.0, 0.0
    for grad, tangent in zip(lane.grad_outputs, along, strict=True):
        if tangent is not None and is_differentiable(grad):
            measured += inner(grad, tangent)
            size += inner(grad.abs(), tangent.abs())
    expected = sum(inner(lane.gradients[i], v) for i, v in tangents.items())
    size += sum(inner(lane.gradients[i].abs(), v.abs()) for i, v in tangents.items())
    roundings = (SAME_ROUNDINGS if lane.roundoff < 2.0**-10 else SAME_ROUNDINGS_16_BITS).value
    allowed = roundings * lane.roundoff * (size if math.isfinite(size) else 0.0)
    found = Product(tangents, measured, expected, allowed)
    if found.wrong and context.analytic:
        return Product(tangents, measured, expected, allowed + REFERENCE_ERRORS.value * _noise(context, lane, tangents))
    return found


def _tangents(context: Context, lane: Lane, indices: list[int], salt: int) -> dict[int, torch.Tensor]:
    """Random tangents; the aligned ones have the gradient's signs, so that nothing cancels in <Jᵀ g, v>."""
    generator = torch.Generator().manual_seed((context.case.seed * 1_000_003 + 71 + salt) % 2**63)
    found = {}
    for i in indices:
        drawn = random_like(lane.inputs[i], generator)
        sign = torch.sgn(lane.gradients[i]).to(drawn) if salt == ALIGNED_SALT.value else torch.zeros_like(drawn)
        found[i] = torch.where(sign == 0, drawn, sign * drawn.abs())
    return found


def _tangents_of(context: Context, lane: Lane, tangents: Directions) -> list[torch.Tensor | None]:
    """The tangents of the outputs, as the user's rule makes them; None for outputs without one."""
    from torch.autograd import forward_ad

    context.runner.begin(context.case.seed, forward=1)
    given: list[Any] = list(copy_inputs(lane.inputs))
    with quiet(), forward_ad.dual_level():
        for i, tangent in tangents.items():
            given[i] = forward_ad.make_dual(given[i].contiguous() if 0 in given[i].stride() else given[i], tangent.clone())
        result = context.subject.user.apply(*given)
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        found = [forward_ad.unpack_dual(output).tangent for output in outputs if isinstance(output, torch.Tensor)]
        return [None if tangent is None else tangent.detach().clone() for tangent in found]


def _noise(context: Context, lane: Lane, tangents: Directions) -> float:
    """How far rounding alone moves <Jᵀ g, v>: cancellation and ill-conditioned inputs raise it."""
    oracle = context.oracle
    dtype = next(lane.inputs[i].dtype for i in tangents if unit_roundoff(lane.inputs[i].dtype) >= lane.roundoff)
    passes = oracle.references("simulated", dtype) + ([] if lane.words else oracle.references("native", dtype))
    found = [0.0]
    for each in passes:
        grads = {i: _gradient(each.gradients.get(Key("input", i)), lane.inputs[i]) for i in tangents}
        found.append(sum(inner((g - lane.gradients[i]).abs(), tangents[i].abs()) for i, g in grads.items()))
    return max(value for value in found if math.isfinite(value))


def confirmed(context: Context, lane: Lane, product: Product) -> bool:
    """Whether a wrong product is wrong by the forward itself too: at a kink a rule may take any one-sided derivative."""
    if not product.wrong or not math.isfinite(product.measured):
        return product.wrong
    try:
        problem = problem_of(context.oracle.runner, context.case)
        numeric = directional(problem, product.tangents)
    except Exception:  # a forward that cannot be moved about says nothing
        return context.analytic
    if numeric.flag:
        outside = not numeric.low - product.allowed <= product.measured <= numeric.high + product.allowed
        return numeric.flag == "kink" and outside
    off = abs(product.measured - numeric.value)
    if off <= numeric.error + product.allowed:
        # the numbers side with the rule, or cannot tell: then the exact oracle decides, the hand-written backward does not
        return context.analytic and abs(product.expected - numeric.value) <= numeric.error + product.allowed
    return True
