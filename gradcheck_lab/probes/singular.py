"""What a failure at stress values is called: overflow, masked branch, ties, an epsilon, or merely those values."""

from __future__ import annotations

from collections.abc import Callable

import torch

from gradcheck_lab.case import is_differentiable
from gradcheck_lab.probes.derived import Trial
from gradcheck_lab.probes.stress import Stress
from gradcheck_lab.report import Finding

Rerun = Callable[[float], Trial | None]
_SCALES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


def cause_of(trial: Trial, stress: Stress, problem: Finding, rerun: Rerun) -> tuple[str, str]:
    """The cause of a problem at stress values and, where the comparison's own words say less, the sentence."""
    if problem.cause == "raises":
        return "value-dependent", ""
    if problem.cause == "non-finite":
        if _only_masked(trial, problem):
            return "masked-branch", "NaN or inf only where the forward did not select the branch, and its derivative is 0"
        if stress.large:
            return "overflow", "the forward is finite there, and the backward overflows"
        return "non-finite", ""
    if problem.cause in ("tie-mass", "missing-broadcast-sum"):
        return problem.cause, ""
    if problem.cause == "outside-subdifferential":
        return ("tie-mass", "") if stress.tied and not _zero(trial, problem) else (problem.cause, "")
    if stress.large and _saturated(trial, problem):
        return "overflow", "an intermediate of the backward overflows or rounds away at these values"
    if stress.near_zero:
        why = _epsilon(trial, stress, problem, rerun)
        if why:
            return "epsilon-mismatch", why
    return "value-dependent", ""


def _only_masked(trial: Trial, problem: Finding) -> bool:
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
    values = trial.inputs[index][broken]
    return bool((values != 0).any())


def _saturated(trial: Trial, problem: Finding) -> bool:
    """Whether wrong elements are exactly zero where the truth is not, as 1/inf leaves them."""
    pair = trial.pair(problem)
    if pair is None:
        return False
    wrong = ~((pair[0] - pair[1]).abs() <= 1e-3 * pair[1].abs())
    return bool(wrong.any()) and bool((pair[0][wrong] == 0).all()) and not bool((pair[0] == 0).all())


def _zero(trial: Trial, problem: Finding) -> bool:
    index = trial.index(problem)
    return index is not None and is_differentiable(trial.inputs[index]) and not bool(trial.inputs[index].any())


def _epsilon(trial: Trial, stress: Stress, problem: Finding, rerun: Rerun) -> str:
    """Whether the relative error grows as the values shrink, as eps/s does; the sentence, with the eps that fits."""
    index = trial.index(problem)
    if index is None:
        return ""
    if stress.tied:
        return "the error is that of an epsilon: rows without spread leave nothing else" if _bounded(trial, problem) else ""
    scale = float(trial.inputs[index].double().abs().mean()) if is_differentiable(trial.inputs[index]) else 0.0
    levels = []
    for factor in (1e1, 1e2, 1e4):
        other = rerun(factor)
        if other is not None:
            levels.append((scale * factor, _relative(other, problem)))
    here = _relative(trial, problem)
    known = [(s, r) for s, r in levels if r is not None]
    if here is None or len(known) < 2 or not 0 < here < 1e6:
        return ""
    if all(a[1] >= 0.99 * b[1] for a, b in zip([(scale, here), *known], known, strict=False)) and known[-1][1] < 0.2 * here:
        s, r = min(known, key=lambda each: abs(each[1] - 0.05))
        return f"the relative error falls from {here:.1g} to {known[-1][1]:.1g} as the values grow to {known[-1][0]:.1g}"
    return ""


def _bounded(trial: Trial, problem: Finding) -> bool:
    pair = trial.pair(problem)
    if pair is None:
        return False
    size = float(pair[1].double().abs().amax())
    error = float((pair[0].double() - pair[1].double()).abs().nan_to_num(0, 0).amax())
    return size > 1e2 and error < 1e6 * size


def _relative(trial: Trial, problem: Finding) -> float | None:
    pair = trial.pair(problem)
    if pair is None:
        return None
    size = float(torch.linalg.vector_norm(pair[1].double()))
    error = float(torch.linalg.vector_norm(pair[0].double() - pair[1].double()))
    return error / size if size > 0 and error == error else None
