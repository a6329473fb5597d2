"""What a failure at stress values is called: overflow, masked branch, ties, an epsilon, or merely those values."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.moves import moved, size_at_least
from gradcheck_lab.calls.stress import Stress
from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.model.amounts import ONE_SIDE, SHRINKING_SCALES
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.model.precision.budget import NOT_ROUNDING
from gradcheck_lab.model.precision.derived_calls import ERROR_ABOVE_ROUNDING, ERROR_GROWTH, GROWING_ERROR
from gradcheck_lab.model.precision.patterns import SMALL_ERROR
from gradcheck_lab.probes.support.derived_calls import Trial
from gradcheck_lab.probes.support.kinks import kinked
from gradcheck_lab.subjects.subject import Key

Rerun = Callable[[float], Trial | None]
UNSELECTED = "NaN or inf only where the forward did not select the branch, and its derivative is 0"


def cause_of(trial: Trial, stress: Stress, problem: Finding, rerun: Rerun) -> tuple[str, str]:
    """The cause of a problem at stress values and, where the comparison's own words say less, the sentence."""
    if problem.cause in having("no_result"):
        return "value-dependent", ""
    if problem.cause == "non-finite":
        if _only_masked(trial, problem, flat=not stress.large):
            return "masked-branch", UNSELECTED
        if stress.large:
            return "overflow", "the forward is finite there, and the backward overflows"
        return "non-finite", ""
    if problem.cause == "tie-mass" or problem.cause in having("keeps_name"):
        return problem.cause, ""
    why = _epsilon(trial, problem, rerun) if stress.near_zero else ""
    if why:
        return "epsilon-mismatch", why
    if problem.cause == "outside-subdifferential":
        return ("tie-mass", "") if stress.tied and not _zero(trial, problem) else (problem.cause, "")
    if stress.tied and not _zero(trial, problem) and _at_a_kink(trial, problem):
        return "tie-mass", "what each of the tied values gets adds up to more, or less, than the whole gradient"
    if stress.large and _saturated(trial, problem):
        return "overflow", "an intermediate of the backward overflows or rounds away at these values"
    return "value-dependent", ""


def _only_masked(trial: Trial, problem: Finding, flat: bool) -> bool:
    pair, index = trial.pair(problem), trial.index(problem)
    if pair is None or index is None:
        return False
    broken = ~torch.isfinite(pair[0]) & torch.isfinite(pair[1])
    if not bool(broken.any()) or bool((pair[1][broken] != 0).any()):
        return False
    for value in trial.inputs:
        if isinstance(value, torch.Tensor) and value.dtype == torch.bool and value.numel():
            try:
                state = value.expand(broken.shape)[broken]
            except RuntimeError:
                continue
            if bool((state == state[0]).all()):
                return True
    return flat and flat_there(trial.examined, index, broken)


def flat_there(examined: Examined, index: int, where: torch.Tensor) -> bool:
    """Whether the derivative is 0 not only at those elements of an input but on one side of them: nothing is selected there."""
    oracle, value = examined.oracle, examined.case.inputs[index]
    for sign in (1, -1):
        here, side = value.detach().double(), ONE_SIDE.value
        beside = moved(here, side, sign * where, size_at_least(here, side))
        inputs = tuple(beside if i == index else v for i, v in enumerate(oracle.case.inputs))
        try:
            found = oracle.run(torch.float64, case=replace(oracle.case, inputs=inputs)).gradients.get(Key("input", index))
        except Exception:  # outside the domain on this side
            continue
        if found is None or not bool(found[where].any()):
            return True
    return False


def _at_a_kink(trial: Trial, problem: Finding) -> bool:
    pair, index = trial.pair(problem), trial.index(problem)
    if pair is None or index is None or pair[1].is_complex():
        return False
    return kinked(trial.examined.oracle, index)


def _saturated(trial: Trial, problem: Finding) -> bool:
    """Whether wrong elements are exactly zero where the truth is not, as 1/inf leaves them."""
    pair = trial.pair(problem)
    if pair is None:
        return False
    wrong = ~((pair[0] - pair[1]).abs() <= NOT_ROUNDING.value * pair[1].abs())
    return bool(wrong.any()) and bool((pair[0][wrong] == 0).all()) and not bool((pair[0] == 0).all())


def _zero(trial: Trial, problem: Finding) -> bool:
    index = trial.index(problem)
    return index is not None and is_differentiable(trial.inputs[index]) and not bool(trial.inputs[index].any())


def _epsilon(trial: Trial, problem: Finding, rerun: Rerun) -> str:
    """Whether the relative error grows steadily as the values shrink, as eps/s does; the sentence, with two sizes of it."""
    dtype = next(v.dtype for v in trial.inputs if is_differentiable(v))
    levels = []
    for scale in SHRINKING_SCALES.value:
        other = rerun(scale)
        found = None if other is None else _relative(other, problem)
        if found is not None:
            levels.append((scale, found))
    steady = all(small[1] >= GROWING_ERROR.value * large[1] for large, small in itertools.pairwise(levels))
    least = ERROR_ABOVE_ROUNDING.value * unit_roundoff(dtype)
    between = [r for _, r in levels if least < r < SMALL_ERROR.value]
    if len(levels) < 3 or not steady or not between or levels[-1][1] < ERROR_GROWTH.value * levels[0][1]:
        return ""
    (large, least), (small, most) = levels[0], levels[-1]
    return f"the relative error grows from {least:.1g} at values of {large:.0e} to {most:.1g} at {small:.0e}, as eps/s does"


def _relative(trial: Trial, problem: Finding) -> float | None:
    pair = trial.pair(problem)
    if pair is None:
        return None
    size = float(torch.linalg.vector_norm(pair[1].double()))
    error = float(torch.linalg.vector_norm(pair[0].double() - pair[1].double()))
    return error / size if size > 0 and error == error else None
