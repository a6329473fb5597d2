"""What an examination compared, and what it did not: inputs, parameters, intermediates, outputs and derived calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.model.coverage import COMPARED, Coverage
from gradcheck_lab.model.findings import GradientResult

NO_ELEMENTS, NOT_FLOATING, NO_UPSTREAM = "no elements", "no floating tensor", "no upstream gradient"


def is_compared(comparison: Comparison) -> bool:
    """Whether anything was compared: a gradient without elements is right or wrong in its shape and dtype alone."""
    result = comparison.result
    return result.verdict == "fail" or (result.elements > 0 and result.reason is None)


def coverage_of(examined: Examined, allowed: Collection[str] = ()) -> tuple[Coverage, ...]:
    """The counts by kind; none where the user's code raised before anything was compared.

    The gradients that are `allowed` to be whatever they are were not compared.
    """
    if examined.run is None:
        return ()
    of_outputs = outputs_coverage(examined)
    results = {c.result.name: c.result for c in examined.comparisons if c.result.op is None}
    names, parameters = examined.subject.names, examined.subject.parameters
    reasons = [
        "allowed" if names[i] in allowed else _reason(examined, i, results, of_outputs.compared) for i in range(len(names))
    ]
    inner = [c for c in examined.comparisons if c.result.op is not None or c.result.name not in names]
    derived = examined.runner.evaluations.derived
    counted = (
        Coverage.of("input", (r for i, r in enumerate(reasons) if i not in parameters)),
        Coverage.of("parameter", (r for i, r in enumerate(reasons) if i in parameters)),
        Coverage.of("intermediate", (COMPARED if is_compared(c) else _why(c.result) for c in inner)),
        of_outputs,
        Coverage.of("derived call", Counter(derived).elements()),
    )
    return tuple(each for each in counted if each.total)


def outputs_coverage(examined: Examined) -> Coverage:
    """The outputs: those that carry an upstream gradient that is not zero are what the gradients are of."""
    return Coverage.of("output", (_output_reason(grad) for grad in examined.case.grad_outputs or ()))


def _output_reason(grad: Any) -> str:
    if not is_differentiable(grad):
        return NOT_FLOATING
    if not grad.numel():
        return NO_ELEMENTS
    return COMPARED if bool(grad.any()) else NO_UPSTREAM


def _reason(examined: Examined, index: int, results: Mapping[str, GradientResult], outputs: int) -> str:
    value, name = examined.case.inputs[index], examined.subject.names[index]
    if not isinstance(value, torch.Tensor) or not is_differentiable(value):
        return NOT_FLOATING
    if not value.numel():
        return NO_ELEMENTS
    if index in examined.subject.constants:
        return "taken as a constant"
    result = results.get(name)
    if result is None:
        return "no oracle"
    if not outputs and result.verdict != "fail":
        return NO_UPSTREAM
    return COMPARED if result.reason is None else _why(result)


def _why(result: GradientResult) -> str:
    return NO_ELEMENTS if result.reason is None else "inconclusive"
