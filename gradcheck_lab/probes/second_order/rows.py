"""One second derivative compared, and the points beside the given one where nothing kinks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.moves import coins, lengths, moved
from gradcheck_lab.calls.resemblance import structured
from gradcheck_lab.comparison.budget import Judgement, judge
from gradcheck_lab.comparison.gradient import Comparison, judge_by_references, result_of
from gradcheck_lab.comparison.noise import without_jumps
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.model.amounts import SECOND_ORDER_DISTANCE, SECOND_ORDER_TINY_DISTANCE
from gradcheck_lab.model.precision import BELOW_FLOAT64, unit_roundoff, widened
from gradcheck_lab.model.precision.budget import COARSE_ORACLE, REFERENCE_ERRORS
from gradcheck_lab.model.precision.derived_calls import GROSS_CHANGE, GROSS_CHANGE_ROUNDINGS, LAST_DIGITS, ZERO_SECOND_ORDER
from gradcheck_lab.oracles.autograd.second_order import GradientGraph, SecondOrderOracle, Values, differentiated
from gradcheck_lab.oracles.numeric.guard import Guarded
from gradcheck_lab.oracles.numeric.scalar_problem import inner, rms
from gradcheck_lab.probes.support.context import Context


@dataclass(frozen=True, slots=True)
class Row:
    """The derivative with respect to one variable, along the direction; `zero` where the hand-written side gives nothing."""

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
    own_noise: Callable[[], Sequence[Values]],
) -> Row:
    """Compare what the hand-written side gives for one variable, None for zero, with the oracle's.

    `own_noise` are the same under simulated rounding: where terms of the hand-written side cancel, no oracle shows how large
    they were.
    """
    found = oracle.truth().get(variable)
    expected = widened(torch.zeros_like(leaf.detach())) if found is None else found
    mine = torch.zeros_like(leaf.detach()) if actual is None else actual
    name = derivative_name(context, wanted, variable)
    dtype = _inside(expected, leaf.dtype)
    slot = Slot(name, f"second derivative {name}", tuple(leaf.shape), dtype, leaf.device)
    if context.oracle.truth_roundoff:
        slot = replace(slot, truth_error=COARSE_ORACLE.value * context.oracle.truth_roundoff * rms(expected))
    references = oracle.references(variable, dtype)

    def levels(level: str) -> list[torch.Tensor]:
        return without_jumps(references(level, 1), expected, partial(references, level))

    judged, level, used = judge_by_references(slot, mine, expected, levels)
    if not judged.passed and judged.rule != "finite" and actual is not None:
        other = [widened(v) - widened(mine) for values in own_noise() if (v := values.get(variable)) is not None]
        used += [torch.where(torch.isfinite(noise), expected + noise, expected) for noise in other]
        judged = judge(mine, expected, dtype, used, truth_error=slot.truth_error)
    wrong = not judged.passed and _gross(judged, mine, expected, dtype)
    lost = judged.elements > 0 and judged.unjudged == judged.elements and not wrong
    verdict = "fail" if wrong else "inconclusive" if lost else "pass"
    result = replace(result_of(slot, judged, mine, expected, verdict), settled_by=level)
    if lost:
        result = replace(result, reason=f"the reference for the {slot.label} is not finite in any element")
    zero = not bool(mine.any())
    return Row(variable, Comparison(result, (), judged.sensitivity), judged, wrong, zero)


def _inside(expected: torch.Tensor, dtype: torch.dtype) -> torch.dtype:
    """The dtype that the oracle's forward shows to compute in, where that is narrower than its inputs'."""
    if dtype != torch.float64 or expected.numel() < 4 or torch.equal(expected, expected.round()):
        return dtype
    return next((d for d in BELOW_FLOAT64 if torch.equal(expected.to(d).double(), expected)), dtype)


def _gross(judged: Judgement, actual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether an error is more than the rounding of a rewritten formula: what is cut off leaves no small error."""
    at = judged.worst_index
    if judged.rule == "finite":
        return True
    if at is None or not judged.wrong_elements:
        return False
    mine, theirs = widened(actual[at]), expected[at]
    share = min(GROSS_CHANGE.value, GROSS_CHANGE_ROUNDINGS.value * math.sqrt(unit_roundoff(dtype)))
    return float((mine - theirs).abs()) > share * max(float(mine.abs()), float(theirs.abs()))


def within_noise(found: Guarded, values: Mapping[int, torch.Tensor], rounded: Sequence[Values]) -> bool:
    """Whether a directional derivative is off by what rounding does to the analytic one, as where terms cancel."""
    noise = [0.0]
    for other in rounded:
        pairs = [(other.get(j), value, (found.directions or {}).get(j)) for j, value in values.items()]
        known = [(widened(a) - b, along) for a, b, along in pairs if a is not None and along is not None]
        noise.append(sum(inner(off.abs(), along.abs()) for off, along in known))
    return abs(found.measured - found.expected) <= found.error + REFERENCE_ERRORS.value * max(
        value for value in noise if math.isfinite(value)
    )


def close(pairs: Sequence[tuple[Any, Any]], upstream: Sequence[Any]) -> bool:
    """Whether gradients agree but for their last digits, None counting as zero; cancelled ones are as large as the upstream."""
    error = size = 0.0
    for mine, theirs in pairs:
        a, b = (None if value is None else widened(value.detach()) for value in (mine, theirs))
        if a is None and b is None:
            continue
        a = torch.zeros_like(b) if a is None and b is not None else a
        b = torch.zeros_like(a) if b is None and a is not None else b
        assert a is not None
        assert b is not None
        if a.shape != b.shape:
            return False
        both = torch.isfinite(a) & torch.isfinite(b)
        error = math.hypot(error, float(torch.linalg.vector_norm(torch.where(both, a - b, 0))))
        size = math.hypot(size, float(torch.linalg.vector_norm(torch.where(both, b, 0))))
    sent = math.hypot(*(float(torch.linalg.vector_norm(widened(g))) for g in upstream if is_differentiable(g)), 0.0)
    return bool(error <= LAST_DIGITS.value * size + ZERO_SECOND_ORDER.value * sent)


def inputs_beside(case: Case) -> Iterator[tuple[Any, ...]]:
    """Inputs beside those of the case, where ties and kinks are gone; then such that zeros stay zero."""
    yield _beside(case, SECOND_ORDER_DISTANCE.value, zeros=True)
    yield _beside(case, SECOND_ORDER_DISTANCE.value, zeros=False)


def _beside(case: Case, distance: float, *, zeros: bool) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(case.seed + 7)
    return tuple(_moved(value, distance, generator, zeros) if is_differentiable(value) else value for value in case.inputs)


def _moved(value: torch.Tensor, distance: float, generator: torch.Generator, zeros: bool) -> torch.Tensor:
    """The value moved by about `distance` times its size; a positive distance keeps its structure, as rows that sum to 1."""
    here = value.detach()
    size = here.abs()
    if zeros:
        size = torch.where(size == 0, torch.full_like(size, rms(widened(here)) or 1.0), size)
    there = moved(here, distance, lengths(here, generator) * coins(here, generator), size)
    return structured(here, there) if distance > 0 else there


def smooth_between(oracle: SecondOrderOracle, case: Case) -> bool:
    """Whether the oracle's gradients, first and second, hardly change over a tiny distance either way: there is no kink."""
    tiny = SECOND_ORDER_TINY_DISTANCE.value
    return all(_hardly_changed(oracle, case, distance) for distance in (tiny, -tiny))


def _hardly_changed(oracle: SecondOrderOracle, case: Case, distance: float) -> bool:
    inputs = _beside(case, distance, zeros=True)
    try:
        oracle.runner.count(forward=1)
        near: GradientGraph = differentiated(oracle.forward, inputs, case.grad_outputs or (), oracle.wanted)
        second = near.along(oracle.directions)
        here = oracle.graph()
    except Exception:  # what cannot be evaluated beside the inputs is at the edge of its domain
        return False
    first = [(near.gradients[i], here.gradients[i]) for i in oracle.wanted]
    return close(first, ()) and close([(second[j], oracle.truth()[j]) for j in here.variables if j in second], ())
