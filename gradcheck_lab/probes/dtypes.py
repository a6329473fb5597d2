"""The gradient is right in every dtype that the forward accepts, for the same values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.exceptions import OF_ARGUMENTS, SINGULAR
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import LANE_ELEMENTS
from gradcheck_lab.model.precision import is_narrow, unit_roundoff, widened
from gradcheck_lab.model.precision.derived_calls import DTYPE_MARGIN, LAST_DIGITS
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.cut_down import cut_down
from gradcheck_lab.probes.support.derived_calls import Trial, attempt, blank, trying

_REAL = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def dtypes(context: Context) -> Iterator[Finding]:
    """Run the same values in the other dtypes; a real call is not tried in complex ones, which few rules are meant for."""
    given = cut_down(context, context.case.inputs, LANE_ELEMENTS.value)
    own = {v.dtype for v in given if is_differentiable(v)}
    if not context.analytic or not given or len(own) != 1 or context.subject.is_program:
        return
    mine = own.pop()
    lanes: Sequence[torch.dtype] = _REAL if not mine.is_complex else (torch.complex128, torch.complex64)
    reported: set[str | None] = set()
    for dtype in lanes:
        if dtype == mine:
            continue
        for finding in _lane(context, given, mine, dtype):
            if finding.gradient not in reported:
                reported.add(finding.gradient)
                yield finding


def _lane(context: Context, given: tuple[Any, ...], mine: torch.dtype, dtype: torch.dtype) -> Iterator[Finding]:
    inputs = tuple(v.to(dtype) if is_differentiable(v) else v for v in given)
    trial = attempt(context, blank(context, inputs=inputs, label=_name(dtype)), lane=True)
    for problem in () if trial is None else trial.problems:
        if trial is not None and _counts(context, trial, problem, mine, dtype):
            yield _finding(context, trial, problem, mine, dtype)


def _counts(context: Context, trial: Trial, problem: Finding, mine: torch.dtype, dtype: torch.dtype) -> bool:
    """Whether a problem of a lane says something: no missing kernel, and in 16 bits nothing near the budget."""
    if problem.cause in having("no_result"):
        # a kernel that does not take 16 bits is no mistake
        if is_narrow(dtype) or problem.exception in OF_ARGUMENTS | SINGULAR:
            return False
        return trying(context).raised_by_dtype(trial.examined, problem)
    pair = trial.pair(problem)
    if unit_roundoff(dtype) <= unit_roundoff(mine) or not is_narrow(dtype) or pair is None:
        return True
    if problem.cause in having("never_rounding") or pair[0].dtype != dtype:
        return True
    found = judge(pair[0], pair[1], dtype, _references(trial, problem, dtype))
    return found.budget_used > DTYPE_MARGIN.value


def _references(trial: Trial, problem: Finding, dtype: torch.dtype) -> list[torch.Tensor]:
    oracle: AutogradOracle = trial.examined.oracle
    index = trial.index(problem)
    assert index is not None
    passes = [*oracle.references("native", dtype), *oracle.references("simulated", dtype)]
    found = [grad for each in passes for key, grad in each.gradients.items() if key[:2] == ("input", index)]
    return [grad.detach() for grad in found if grad is not None]


def _finding(context: Context, trial: Trial, problem: Finding, mine: torch.dtype, dtype: torch.dtype) -> Finding:
    cause = problem.cause if problem.cause in having("dtype") else "value-dependent"
    suggestion = problem.suggestion
    if problem.cause in having("no_result"):
        cause, suggestion = "wrong-dtype", f"make every tensor of the backward in the dtype of {_first(context)}"
    elif problem.cause == "non-finite":
        cause, suggestion = "overflow", "compute the intermediate in float32, or use the stable form"
    elif cause == "value-dependent" and _narrow(trial, problem, dtype):
        cause, suggestion = "low-precision", f"compute in {_name(dtype)} or wider throughout"
    return replace(
        problem,
        cause=cause,
        message=f"{problem.message}, in {_name(dtype)}",
        explanation=f"right in {_name(mine)}, wrong in {_name(dtype)}: {problem.explanation}",
        suggestion=suggestion,
        probe="dtypes",
        case=_name(dtype),
    )


def _narrow(trial: Trial, problem: Finding, dtype: torch.dtype) -> bool:
    """Whether the gradient is right but for digits: its error is far below it."""
    pair = trial.pair(problem)
    if pair is None:
        return False
    size = float(torch.linalg.vector_norm(widened(pair[1])))
    error = float(torch.linalg.vector_norm(pair[0].to(pair[1]) - pair[1]))
    return 0 < error < LAST_DIGITS.value * size


def _first(context: Context) -> str:
    return next(context.name(i) for i, v in enumerate(context.case.inputs) if is_differentiable(v))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
