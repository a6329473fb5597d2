"""The problem that numeric oracles evaluate for a case: its forward in the widest dtype that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.model.precision import is_wide, unit_roundoff
from gradcheck_lab.oracles.numeric.scalar_problem import Problem
from gradcheck_lab.subjects.runner import Runner


def problem_of(runner: Runner, case: Case, lifts: bool = False) -> Problem:
    """The forward of a subject at a case with its grad_outputs, in the widest dtype that the forward takes.

    With `lifts`, casts to 16 bits within it are left out.

    Raises what the forward raises in the dtypes of the case.
    """
    assert case.grad_outputs is not None
    given = tuple(v.detach() if isinstance(v, torch.Tensor) else v for v in case.inputs)
    native = Problem(runner.subject.forward, given, case.options, case.grad_outputs, case.seed, runner, lifts=lifts)
    native = replace(native, held=_held(native))
    for wide in (torch.float64, torch.float32):
        if all(unit_roundoff(given[i].dtype) <= unit_roundoff(wide) for i in native.differentiable):
            break
        inputs = tuple(v.to(wide.to_complex() if v.is_complex() else wide) if is_differentiable(v) else v for v in given)
        problem = replace(native, inputs=inputs, options=widened_options(case.options, wide), memory={})
        try:
            problem.base()
            return problem
        except Exception:  # a kernel that does not take this dtype
            continue
    native.base()
    return native


def _held(problem: Problem) -> frozenset[int]:
    """The constants in a narrower dtype, where all that is compared is in float64: such a call is evaluated as it stands."""
    constants, own = problem.runner.subject.constants, problem.differentiable
    if not all(is_wide(problem.inputs[i].dtype) for i in own if i not in constants):
        return frozenset()
    return frozenset(i for i in own if i in constants and not is_wide(problem.inputs[i].dtype))


def widened_options(options: Mapping[str, Any], wide: torch.dtype) -> dict[str, Any]:
    """The options with their tensors in a wider dtype, as the running mean of a normalisation has to be where its input is."""
    return {
        name: v.to(wide.to_complex() if v.is_complex() else wide) if is_differentiable(v) else v for name, v in options.items()
    }
