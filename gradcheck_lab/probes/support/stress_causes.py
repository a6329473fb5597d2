"""Choose the cause of an error at stress values: overflow, a masked branch, ties, an epsilon, or the values themselves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.calls.moves import moved, random_lengths, random_signs, size_at_least
from gradcheck_lab.calls.stress import Stress, about, away
from gradcheck_lab.examination.examined import Examined, NumericTruth
from gradcheck_lab.model.amounts import KINK_RADIUS_CLOSER, MILDER_DISTANCES, ONE_SIDE, SHRINKING_SCALES
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.model.precision.budget import NOT_ROUNDING
from gradcheck_lab.model.precision.derived_calls import ERROR_ABOVE_ROUNDING, ERROR_GROWTH, GROWING_ERROR
from gradcheck_lab.model.precision.patterns import SMALL_ERROR
from gradcheck_lab.probes.support.derived_calls import DerivedCall
from gradcheck_lab.probes.support.kinks import kinked
from gradcheck_lab.probes.support.true_gradients import gradients_at, true_gradient

Rerun = Callable[[Stress], DerivedCall | None]
UNSELECTED_BRANCH = "NaN or inf only where the forward did not select the branch, and its derivative is 0"


def cause_of(derived: DerivedCall, stress: Stress, new_error: Finding, rerun: Rerun) -> tuple[str, str]:
    """Return the cause of an error at stress values, and an explanation where that of the comparison says less; else "".

    `rerun` examines the same call with other values.
    """
    if new_error.cause in having("no_result"):
        if stress.large and new_error.exception == OverflowError.__name__:  # Python's numbers raise where arrays give inf
            return "overflow", "the forward is finite there, and the backward overflows"
        return "value-dependent", ""
    if new_error.cause == "non-finite":
        if _is_only_in_unselected_branch(derived, new_error, check_derivative=not stress.large):
            return "masked-branch", UNSELECTED_BRANCH
        if stress.large and _divides_by_nothing(derived):
            return "non-finite", "nothing overflows there: the backward divides by what has become 0"
        if stress.large:
            return "overflow", "the forward is finite there, and the backward overflows"
        return "non-finite", ""
    if new_error.cause == "tie-mass" and stress.large and not stress.tied:
        return "value-dependent", ""  # a kink that a step meets on its way, where nothing ties
    if new_error.cause == "tie-mass" or new_error.cause in having("keeps_name") | having("seen_by_running"):
        return new_error.cause, ""
    why = _epsilon_text(derived, new_error, rerun) if stress.near_zero else ""
    why = _milder_epsilon_text(new_error, rerun) if stress.large else why
    if why:
        return "epsilon-mismatch", why
    if new_error.cause == "outside-subdifferential":
        return ("tie-mass", "") if stress.tied and not _is_zero_input(derived, new_error) else (new_error.cause, "")
    if stress.tied and not _is_zero_input(derived, new_error) and _is_at_kink(derived, new_error):
        return "tie-mass", "what each of the tied values gets adds up to more, or less, than the whole gradient"
    if stress.large and _has_zeros_in_place_of_values(derived, new_error):
        return "overflow", "an intermediate of the backward overflows or rounds away at these values"
    return "value-dependent", ""


def _divides_by_nothing(derived: DerivedCall) -> bool:
    """Whether NumPy sees a division by zero or an invalid operation in the backward, and no overflow before it."""
    kinds, found = set[str](), derived.examined
    try:
        with np.errstate(all="call", call=lambda kind, flag: kinds.add(kind)):
            recording = found.runner.record(copy_inputs(found.case.inputs), found.case)
            kinds.clear()
            found.runner.backward(recording, found.case.grad_outputs or (), found.case.seed)
    except Exception:  # the user's code need not run again
        return False
    return bool(kinds & {"divide by zero", "invalid value"}) and "overflow" not in kinds


def _is_only_in_unselected_branch(derived: DerivedCall, new_error: Finding, check_derivative: bool) -> bool:
    pair, index = derived.returned_and_true(new_error), derived.input_index(new_error)
    if pair is None or index is None:
        return False
    broken = ~torch.isfinite(pair[0]) & torch.isfinite(pair[1])
    if not bool(broken.any()) or bool((pair[1][broken] != 0).any()):
        return False
    for value in derived.inputs:
        if isinstance(value, torch.Tensor) and value.dtype == torch.bool and value.numel():
            try:
                state = value.expand(broken.shape)[broken]
            except RuntimeError:
                continue
            if bool((state == state[0]).all()):
                return True
    return check_derivative and is_flat_beside(derived.examined, index, broken)


def is_flat_beside(examined: Examined, index: int, where: torch.Tensor) -> bool:
    """Whether the derivative is 0 to one side of these elements of an input, as in an unselected branch, or has a pole there.

    All other values move a little too: a derivative may be 0 because others are, as in a product. There it shrinks with the
    move, and at a kink, as of a norm, it stays; where it grows, as 1/b beside the b = 0 that a forward has a branch of its own
    for, that branch was not selected.
    """
    sizes = []
    for step in (ONE_SIDE.value, ONE_SIDE.value / KINK_RADIUS_CLOSER.value):
        beside = _largest_beside(examined, index, where, step)
        if not all(beside):
            return True
        sizes.append(min(beside, default=0.0))
    return sizes[1] > 2 * sizes[0]


def _largest_beside(examined: Examined, index: int, where: torch.Tensor, step: float) -> list[float]:
    """The largest derivative among these elements of an input at points so far to either side, where there are such points."""
    case, generator = examined.oracle.case, torch.Generator().manual_seed(examined.case.seed)
    largest: list[float] = []
    lengths = [
        random_lengths(v, generator) * random_signs(v, generator) if is_differentiable(v) and not v.is_complex() else None
        for v in case.inputs
    ]
    for sign in (1, -1):
        others = list(case.inputs)
        for i, (value, length) in enumerate(zip(case.inputs, lengths, strict=True)):
            if length is not None:
                here = value.detach().double()
                along = torch.where(where, sign * length.abs(), length) if i == index else length
                others[i] = moved(here, step, along, size_at_least(here, step))
        inputs = tuple(others)
        try:
            found = gradients_at(examined, inputs).get(index)
        except Exception:  # outside the domain on this side
            continue
        largest.append(0.0 if found is None else float(found[where].abs().nan_to_num(math.inf).max()))
    return largest


def _is_at_kink(derived: DerivedCall, new_error: Finding) -> bool:
    pair, index = derived.returned_and_true(new_error), derived.input_index(new_error)
    if pair is None or index is None or pair[1].is_complex():
        return False
    if isinstance(derived.examined.truth, NumericTruth):
        truth = true_gradient(derived.examined, index)
        return truth is not None and bool(torch.isnan(truth).any())
    return kinked(derived.examined.oracle, index)


def _has_zeros_in_place_of_values(derived: DerivedCall, new_error: Finding) -> bool:
    """Whether every wrong element is exactly zero where the true one is not, as 1/inf is, and other elements are not zero."""
    pair = derived.returned_and_true(new_error)
    if pair is None:
        return False
    wrong = ~((pair[0] - pair[1]).abs() <= NOT_ROUNDING.value * pair[1].abs())
    return bool(wrong.any()) and bool((pair[0][wrong] == 0).all()) and not bool((pair[0] == 0).all())


def _is_zero_input(derived: DerivedCall, new_error: Finding) -> bool:
    index = derived.input_index(new_error)
    return index is not None and is_differentiable(derived.inputs[index]) and not bool(derived.inputs[index].any())


def _epsilon_text(derived: DerivedCall, new_error: Finding, rerun: Rerun) -> str:
    """Say that the relative error grows as the values shrink, as eps/s does, with two sizes of it; empty where it does not."""
    dtype = next(v.dtype for v in derived.inputs if is_differentiable(v))
    if isinstance(derived.examined.truth, NumericTruth):  # which take long, and an epsilon shows most where values are least
        smallest = rerun(about(SHRINKING_SCALES.value[-1]))
        if smallest is not None and not smallest.new_errors:
            return ""
    errors_by_scale = []
    for scale in SHRINKING_SCALES.value:
        other = rerun(about(scale))
        found = None if other is None else _relative_error(other, new_error)
        if other is not None and isinstance(other.examined.truth, NumericTruth) and not _fails_too(other, new_error):
            found = 0.0  # less than what numbers know of so small values
        if found is not None:
            errors_by_scale.append((scale, found))
    steady = all(small[1] >= GROWING_ERROR.value * large[1] for large, small in itertools.pairwise(errors_by_scale))
    least = ERROR_ABOVE_ROUNDING.value * unit_roundoff(dtype)
    between = [r for _, r in errors_by_scale if least < r < SMALL_ERROR.value]
    if (
        len(errors_by_scale) < 3
        or not steady
        or not between
        or errors_by_scale[-1][1] < ERROR_GROWTH.value * errors_by_scale[0][1]
    ):
        return ""
    (large, least), (small, most) = errors_by_scale[0], errors_by_scale[-1]
    return f"the relative error grows from {least:.1g} at values of {large:.0e} to {most:.1g} at {small:.0e}, as eps/s does"


def _fails_too(derived: DerivedCall, new_error: Finding) -> bool:
    return any((f.op, f.gradient) == (new_error.op, new_error.gradient) for f in derived.new_errors)


def _milder_epsilon_text(new_error: Finding, rerun: Rerun) -> str:
    """Say that the gradient is that of a forward with another epsilon at values less large; empty where it is not.

    Where a probability or a sum of squares underflows, the epsilon is all that is left, and no neighbouring forward is finite.
    """
    for distance in MILDER_DISTANCES.value:
        milder = rerun(away(distance))
        for found in milder.new_errors if milder is not None else ():
            if (found.op, found.gradient, found.cause) == (new_error.op, new_error.gradient, "epsilon-mismatch"):
                return f"with values of about ±{distance:g}, {found.explanation}"
    return ""


def _relative_error(derived: DerivedCall, new_error: Finding) -> float | None:
    pair = derived.returned_and_true(new_error)
    if pair is None:
        return None
    size = float(torch.linalg.vector_norm(pair[1].double()))
    error = float(torch.linalg.vector_norm(pair[0].double() - pair[1].double()))
    return error / size if size > 0 and error == error else None
