"""Compare one second derivative with the oracle's, and choose nearby inputs without kinks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.moves import moved, random_lengths, random_signs
from gradcheck_lab.calls.similar_values import with_structure_of
from gradcheck_lab.comparison.budget import Judgement, judge
from gradcheck_lab.comparison.compared import Comparison, result_of
from gradcheck_lab.comparison.noise import without_jumps
from gradcheck_lab.comparison.numbers import judge_by_references
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.model.amounts import SECOND_ORDER_DISTANCE, SECOND_ORDER_TINY_DISTANCE
from gradcheck_lab.model.precision import BELOW_FLOAT64, unit_roundoff, widened
from gradcheck_lab.model.precision.budget import COARSE_ORACLE, REFERENCE_ERRORS
from gradcheck_lab.model.precision.derived_calls import GROSS_CHANGE, GROSS_CHANGE_ROUNDINGS, LAST_DIGITS, ZERO_SECOND_ORDER
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.oracles.autograd.second_order import GradientGraph, SecondOrderOracle, Values, differentiated
from gradcheck_lab.oracles.numeric.guard import Guarded
from gradcheck_lab.oracles.numeric.scalar_problem import inner, rms
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.subjects.contained import comparable


@dataclass(frozen=True, slots=True)
class Row:
    """The comparison of the derivative with respect to one variable; `zero` where the hand-written one is None or all zero."""

    variable: int
    comparison: Comparison
    judgement: Judgement
    wrong: bool
    zero: bool


def variable_name(context: Context, variable: int) -> str:
    """The name of an input, or grad_output."""
    count = len(context.case.inputs)
    if variable < count:
        return context.name(variable)
    return "grad_output" if len(context.case.grad_outputs or ()) == 1 else f"grad_output {variable - count}"


def derivative_name(context: Context, gradients: Sequence[int], variable: int) -> str:
    """`d grad_x / d y`; `d grad / d y` for several gradients together."""
    whose = f"grad_{context.name(gradients[0])}" if len(gradients) == 1 else "grad"
    return f"d {whose} / d {variable_name(context, variable)}"


def row_of(
    context: Context,
    wanted: Sequence[int],
    variable: int,
    leaf: torch.Tensor,
    actual: torch.Tensor | None,
    oracle: SecondOrderOracle,
    own_rounding: Callable[[], Sequence[Values]],
) -> Row:
    """Compare the hand-written derivative with respect to one variable, None for zero, with the oracle's.

    `own_rounding` returns the hand-written derivatives under simulated rounding. It is called where the oracle's rounding does
    not explain the error: terms that cancel in the hand-written side need not occur in the oracle.
    """
    found = oracle.truth().get(variable)
    expected = widened(torch.zeros_like(leaf.detach())) if found is None else found
    mine = torch.zeros_like(leaf.detach()) if actual is None else actual
    name = derivative_name(context, wanted, variable)
    dtype = _dtype_of_forward(expected, leaf.dtype)
    slot = Slot(name, f"second derivative {name}", tuple(leaf.shape), dtype, leaf.device)
    slot = _with_error_of(context.oracle, slot, expected)
    references = oracle.references(variable, dtype)

    def levels(level: str) -> list[torch.Tensor]:
        return without_jumps(references(level, 1), expected, partial(references, level))

    judged, level, used = judge_by_references(slot, mine, expected, levels)
    if not judged.passed and judged.rule != "finite" and actual is not None:
        other = [widened(v) - widened(mine) for values in own_rounding() if (v := values.get(variable)) is not None]
        used += [torch.where(torch.isfinite(noise), expected + noise, expected) for noise in other]
        judged = judge(mine, expected, dtype, used, truth_error=slot.truth_error)
    if not judged.passed and (lifted := context.oracle.without_casts()) is not None:
        slot = _with_error_of(lifted, slot, expected)
        judged = judge(mine, expected, dtype, used, truth_error=slot.truth_error)
    wrong = not judged.passed and _is_gross(judged, mine, expected, dtype)
    is_unjudged = judged.elements > 0 and judged.unjudged == judged.elements and not wrong
    verdict = "fail" if wrong else "inconclusive" if is_unjudged else "pass"
    result = replace(result_of(slot, judged, mine, expected, verdict), settled_by=level)
    if is_unjudged:
        result = replace(result, reason=f"the reference for the {slot.label} is not finite in any element")
    zero = not bool(mine.any())
    return Row(variable, Comparison(result, (), judged.sensitivity), judged, wrong, zero)


def _with_error_of(oracle: AutogradOracle, slot: Slot, expected: torch.Tensor) -> Slot:
    return replace(slot, truth_error=COARSE_ORACLE.value * oracle.truth_roundoff * rms(expected))


def _dtype_of_forward(expected: torch.Tensor, dtype: torch.dtype) -> torch.dtype:
    """The narrower dtype in which every element of the oracle's derivative is representable; `dtype` where there is none."""
    if dtype != torch.float64 or expected.numel() < 4 or torch.equal(expected, expected.round()):
        return dtype
    return next((d for d in BELOW_FLOAT64 if torch.equal(expected.to(d).double(), expected)), dtype)


def _is_gross(judged: Judgement, actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether the worst error is larger than the rounding of another formula; a missing term makes a large one."""
    at = judged.worst_index
    if judged.rule == "finite":
        return True
    if at is None or not judged.wrong_elements:
        return False
    mine, theirs = widened(actual[at]), expected[at]
    share = min(GROSS_CHANGE.value, GROSS_CHANGE_ROUNDINGS.value * math.sqrt(unit_roundoff(dtype)))
    return float((mine - theirs).abs()) > share * max(float(mine.abs()), float(theirs.abs()))


def is_within_noise(found: Guarded, values: Mapping[int, torch.Tensor], rounded: Sequence[Values]) -> bool:
    """Whether numeric and analytic directional derivatives differ by no more than rounding changes the analytic one."""
    noise = [0.0]
    for other in rounded:
        pairs = [(other.get(j), value, (found.directions or {}).get(j)) for j, value in values.items()]
        known = [(widened(a) - b, along) for a, b, along in pairs if a is not None and along is not None]
        noise.append(sum(inner(off.abs(), along.abs()) for off, along in known))
    return abs(found.measured - found.expected) <= found.error + REFERENCE_ERRORS.value * max(
        value for value in noise if math.isfinite(value)
    )


def are_close(pairs: Sequence[tuple[Any, Any]], upstream: Sequence[Any]) -> bool:
    """Whether pairs of gradients agree but for their last digits; None counts as zero.

    The tolerance grows with the upstream, as terms that cancel may be as large as that.
    """
    error = size = 0.0
    for mine, theirs in pairs:
        a, b = (None if value is None else widened(comparable(value).detach()) for value in (mine, theirs))
        if a is None and b is None:
            continue
        a = torch.zeros_like(b) if a is None and b is not None else a
        b = torch.zeros_like(a) if b is None and a is not None else b
        assert a is not None
        assert b is not None
        if a.shape != b.shape:
            return False
        finite = torch.isfinite(a) & torch.isfinite(b)
        error = math.hypot(error, float(torch.linalg.vector_norm(torch.where(finite, a - b, 0))))
        size = math.hypot(size, float(torch.linalg.vector_norm(torch.where(finite, b, 0))))
    sent = math.hypot(*(float(torch.linalg.vector_norm(widened(g))) for g in upstream if is_differentiable(g)), 0.0)
    return bool(error <= LAST_DIGITS.value * size + ZERO_SECOND_ORDER.value * sent)


def nearby_inputs(case: Case) -> Iterator[tuple[Any, ...]]:
    """Yield inputs near those of the case, without its ties and kinks; then others at which zeros stay zero."""
    yield _inputs_nearby(case, SECOND_ORDER_DISTANCE.value, zeros=True)
    yield _inputs_nearby(case, SECOND_ORDER_DISTANCE.value, zeros=False)


def _inputs_nearby(case: Case, distance: float, *, zeros: bool) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(case.seed + 7)
    return tuple(_moved(value, distance, generator, zeros) if is_differentiable(value) else value for value in case.inputs)


def _moved(value: torch.Tensor, distance: float, generator: torch.Generator, zeros: bool) -> torch.Tensor:
    """Move each element by about `distance` times its size; zeros too if `zeros` is set.

    Where `distance` is positive, structure such as rows that sum to 1 is restored.
    """
    here = value.detach()
    size = here.abs()
    if zeros:
        size = torch.where(size == 0, torch.full_like(size, rms(widened(here)) or 1.0), size)
    there = moved(here, distance, random_lengths(here, generator) * random_signs(here, generator), size)
    return with_structure_of(here, there) if distance > 0 else there


def is_smooth_nearby(oracle: SecondOrderOracle, case: Case) -> bool:
    """Whether the oracle's first and second derivatives hardly change over a tiny step either way, as without a kink."""
    tiny = SECOND_ORDER_TINY_DISTANCE.value
    return all(_hardly_changed(oracle, case, distance) for distance in (tiny, -tiny))


def _hardly_changed(oracle: SecondOrderOracle, case: Case, distance: float) -> bool:
    inputs = _inputs_nearby(case, distance, zeros=True)
    try:
        oracle.runner.count(forward=1)
        near: GradientGraph = differentiated(oracle.forward, inputs, case.grad_outputs or (), oracle.wanted)
        second = near.along(oracle.directions)
        here = oracle.graph()
    except Exception:  # the inputs are at the edge of the forward's domain
        return False
    first = [(near.gradients[i], here.gradients[i]) for i in oracle.wanted]
    return are_close(first, ()) and are_close([(second[j], oracle.truth()[j]) for j in here.variables if j in second], ())
