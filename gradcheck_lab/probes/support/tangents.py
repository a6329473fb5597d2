"""The dot-product test of a Function's own forward-mode rule: <g, J v>, by the rule, against <Jᵀ g, v>, by the gradient."""

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
from gradcheck_lab.oracles.numeric.scalar_problem import Directions, inner, quiet
from gradcheck_lab.oracles.numeric.wide_problem import problem_of
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.repeats import compared_inputs
from gradcheck_lab.subjects.subject import Key


@dataclass(frozen=True, slots=True)
class JvpCase:
    """Inputs in one precision on which the rule is run.

    `gradients` are Jᵀ g in float64, by input. `suffix` says in messages which precision it is, where it is not the user's.
    """

    inputs: tuple[Any, ...]
    grad_outputs: tuple[torch.Tensor, ...]
    gradients: Mapping[int, torch.Tensor]
    roundoff: float
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class DotProductTest:
    """One test: `measured` is <g, J v> by the rule, `expected` is <Jᵀ g, v>, and `allowed` the largest difference allowed."""

    tangents: Directions
    measured: float
    expected: float
    allowed: float

    @property
    def is_wrong(self) -> bool:
        """Whether the two differ by more than is allowed."""
        return not abs(self.measured - self.expected) <= self.allowed


def jvp_cases(context: Context) -> Iterator[JvpCase]:
    """Yield the inputs as they are, then in float64, where they are narrower and the oracle takes that."""
    case, in_float64 = context.case, None
    roundoff = max(unit_roundoff(case.inputs[i].dtype) for i in compared_inputs(context))
    found: list[Any] = list(context.gradients)
    if context.uses_autograd:
        truth = context.oracle.truth()
        found = [truth.gradients.get(Key("input", i)) for i in range(len(case.inputs))]
        in_float64 = truth if not context.oracle.truth_roundoff and roundoff > 2.0**-53 else None
    elif context.wrong_inputs:
        return
    gradients = {i: _gradient(found[i], case.inputs[i]) for i in compared_inputs(context)}
    if any(g.shape != case.inputs[i].shape or not bool(torch.isfinite(g).all()) for i, g in gradients.items()):
        return
    yield JvpCase(case.inputs, case.grad_outputs or (), gradients, roundoff)
    if in_float64 is not None and not draws_random(case.seed):
        inputs = tuple(v.detach() if isinstance(v, torch.Tensor) else v for v in in_float64.inputs)
        yield JvpCase(inputs, in_float64.upstream, gradients, 2.0**-53, ", in float64")


def _gradient(found: Any, value: torch.Tensor) -> torch.Tensor:
    return widened(found.detach() if isinstance(found, torch.Tensor) else torch.zeros_like(value))


def dot_product_test(context: Context, jvp_case: JvpCase, indices: list[int], salt: int) -> DotProductTest:
    """Run the rule on random tangents of these inputs, zero for the others; `salt` picks the random numbers."""
    tangents = _tangents(context, jvp_case, indices, salt)
    along = _output_tangents(context, jvp_case, tangents)
    measured, size = 0.0, 0.0
    for grad, tangent in zip(jvp_case.grad_outputs, along, strict=True):
        if tangent is not None and is_differentiable(grad):
            measured += inner(grad, tangent)
            size += inner(grad.abs(), tangent.abs())
    expected = sum(inner(jvp_case.gradients[i], v) for i, v in tangents.items())
    size += sum(inner(jvp_case.gradients[i].abs(), v.abs()) for i, v in tangents.items())
    roundings = (SAME_ROUNDINGS if jvp_case.roundoff < 2.0**-10 else SAME_ROUNDINGS_16_BITS).value
    allowed = roundings * jvp_case.roundoff * (size if math.isfinite(size) else 0.0)
    found = DotProductTest(tangents, measured, expected, allowed)
    if found.is_wrong and context.uses_autograd:
        return DotProductTest(
            tangents, measured, expected, allowed + REFERENCE_ERRORS.value * _rounding_noise(context, jvp_case, tangents)
        )
    return found


def _tangents(context: Context, jvp_case: JvpCase, indices: list[int], salt: int) -> dict[int, torch.Tensor]:
    """Random tangents, by input; with `ALIGNED_SALT` they have the gradient's signs, so that no terms of <Jᵀ g, v> cancel."""
    generator = torch.Generator().manual_seed((context.case.seed * 1_000_003 + 71 + salt) % 2**63)
    found = {}
    for i in indices:
        drawn = random_like(jvp_case.inputs[i], generator)
        sign = torch.sgn(jvp_case.gradients[i]).to(drawn) if salt == ALIGNED_SALT.value else torch.zeros_like(drawn)
        found[i] = torch.where(sign == 0, drawn, sign * drawn.abs())
    return found


def _output_tangents(context: Context, jvp_case: JvpCase, tangents: Directions) -> list[torch.Tensor | None]:
    """The tangents of the outputs that the user's rule returns; None for an output without one."""
    from torch.autograd import forward_ad

    context.runner.begin(context.case.seed, forward=1)
    given: list[Any] = list(copy_inputs(jvp_case.inputs))
    with quiet(), forward_ad.dual_level():
        for i, tangent in tangents.items():
            given[i] = forward_ad.make_dual(given[i].contiguous() if 0 in given[i].stride() else given[i], tangent.clone())
        result = context.subject.user.apply(*given)
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        found = [forward_ad.unpack_dual(output).tangent for output in outputs if isinstance(output, torch.Tensor)]
        return [None if tangent is None else tangent.detach().clone() for tangent in found]


def _rounding_noise(context: Context, jvp_case: JvpCase, tangents: Directions) -> float:
    """How much rounding alone changes <Jᵀ g, v>; more where terms cancel or inputs are ill-conditioned."""
    oracle = context.oracle
    dtype = next(jvp_case.inputs[i].dtype for i in tangents if unit_roundoff(jvp_case.inputs[i].dtype) >= jvp_case.roundoff)
    passes = oracle.references("simulated", dtype) + ([] if jvp_case.suffix else oracle.references("native", dtype))
    found = [0.0]
    for each in passes:
        grads = {i: _gradient(each.gradients.get(Key("input", i)), jvp_case.inputs[i]) for i in tangents}
        found.append(sum(inner((g - jvp_case.gradients[i]).abs(), tangents[i].abs()) for i, g in grads.items()))
    return max(value for value in found if math.isfinite(value))


def is_confirmed(context: Context, jvp_case: JvpCase, test: DotProductTest) -> bool:
    """Whether the rule also contradicts a numeric derivative of the forward; at a kink any one-sided derivative is right."""
    if not test.is_wrong or not math.isfinite(test.measured):
        return test.is_wrong
    try:
        problem = problem_of(context.oracle.runner, context.case)
        numeric = directional(problem, test.tangents)
    except Exception:  # the forward cannot be evaluated at other values
        return context.uses_autograd
    if numeric.flag:
        outside = not numeric.low - test.allowed <= test.measured <= numeric.high + test.allowed
        return numeric.flag == "kink" and outside
    off = abs(test.measured - numeric.value)
    if off <= numeric.error + test.allowed:
        # numbers agree with the rule, or are too coarse to tell: then it is wrong only if autograd says so and agrees with them
        return context.uses_autograd and abs(test.expected - numeric.value) <= numeric.error + test.allowed
    return True
