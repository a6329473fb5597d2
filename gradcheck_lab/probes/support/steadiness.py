"""Whether values mean anything to a forward: it may be chaotic outside of its domain, and an iteration runs out at zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.calls.moves import random_signs
from gradcheck_lab.comparison.budget import passes
from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.model.amounts import BESIDE_ZERO_BY, STEADY_DISTANCE
from gradcheck_lab.model.precision.budget import SLICE_ROUNDINGS
from gradcheck_lab.model.precision.kinks import SETTLED, SPIKE
from gradcheck_lab.probes.support.derived_calls import DerivedCall
from gradcheck_lab.probes.support.true_gradients import gradients_at, true_gradients
from gradcheck_lab.rules.op import as_tuple


def is_steady(derived: DerivedCall) -> bool:
    """Whether the oracle's gradient hardly changes for a small step; outside its domain a forward may be finite and chaotic."""
    examined = derived.examined
    known = true_gradients(examined)
    if not known:  # a backward that raised was held against nothing
        return True
    moved = gradients_at(examined, _wide(examined, lambda v: v * (1 + STEADY_DISTANCE.value)))
    for index, here in known.items():
        there = moved.get(index)
        if there is None:
            continue
        without = torch.isnan(here) & torch.isnan(there)  # kinks, of which numbers give no derivative
        change, size = (float(torch.linalg.vector_norm(v.masked_fill(without, 0))) for v in (there - here, here))
        if not change <= SETTLED.value * size:
            return False
    return has_meaning(derived)


def has_meaning(derived: DerivedCall) -> bool:
    """Whether a forward is continuous at the values of a call, and its gradient there no spike of an iteration that ran out."""
    return _is_continuous(derived.examined) and not _is_spike_at_zero(derived.examined)


def _wide(examined: Examined, move: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Any, ...]:
    """The inputs of a call, those with a gradient moved in the dtype that the oracle runs in."""
    return tuple(move(v.detach()) if is_differentiable(v) else v for v in examined.oracle.case.inputs)


def _is_spike_at_zero(examined: Examined) -> bool:
    """Whether the gradient is far larger at the zeros of an input than beside them, as of an iteration that ran out there.

    The hand-written gradient has to be right beside them. How near that is depends on how many rounds an iteration has.
    """
    known = true_gradients(examined)
    if not known or not any(is_differentiable(v) and bool((v == 0).any()) for v in examined.oracle.case.inputs):
        return False
    return any(_is_smaller_and_right(examined, known, _beside_zeros(examined, by)) for by in BESIDE_ZERO_BY.value)


def _is_continuous(examined: Examined) -> bool:
    """Whether the outputs hardly change where each element moves by itself; a singular system of equations has no solution.

    A kink or a tie is continuous, though its gradient is not. Where the forward raises beside the values, nothing is known.
    """
    case, runner = examined.oracle.case, examined.runner
    generator = torch.Generator().manual_seed(case.seed)
    moved = _wide(examined, lambda v: v + STEADY_DISTANCE.value * v * random_signs(v, generator))
    try:
        here, there = (runner.record(copy_inputs(inputs), case).outputs for inputs in (_wide(examined, torch.clone), moved))
    except Exception:
        return True
    return all(_is_near(one.detach(), other.detach()) for one, other in zip(here, there, strict=True) if is_differentiable(one))


def _is_near(one: torch.Tensor, other: torch.Tensor) -> bool:
    both = torch.isfinite(one) & torch.isfinite(other)
    change, size = (float(torch.linalg.vector_norm(v[both].double())) for v in (other - one, one))
    return change <= SETTLED.value * size + STEADY_DISTANCE.value


def _beside_zeros(examined: Examined, by: float) -> tuple[Any, ...]:
    return _wide(examined, lambda v: v + by * (v == 0))


def _is_smaller_and_right(examined: Examined, known: dict[int, torch.Tensor], inputs: tuple[Any, ...]) -> bool:
    """Whether a gradient is far smaller there than the known one, and the hand-written one the same."""
    smaller = {
        index: there
        for index, there in gradients_at(examined, inputs).items()
        if (here := known.get(index)) is not None and here.numel() and bool(there.any())
        and bool(torch.isfinite(there).all()) and float(here.abs().max()) > SPIKE.value * float(there.abs().max())
    }  # fmt: skip
    if not smaller:
        return False
    case, runner = replace(examined.case, inputs=inputs), examined.runner
    try:
        upstream = tuple(grad.to(torch.float64) for grad in examined.case.grad_outputs or ())
        returned = as_tuple(runner.backward(runner.record(copy_inputs(inputs), case), upstream, case.seed).returned)
    except Exception:  # it takes another dtype than the oracle's
        return False
    return all(
        isinstance(grad := returned[index], torch.Tensor)
        and passes(grad, there, torch.float64, SLICE_ROUNDINGS.value)
        for index, there in smaller.items()
    )
