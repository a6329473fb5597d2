"""The gradient is right in every dtype that the forward accepts, for the same values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.exceptions import OF_ARGUMENTS, SINGULAR
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import LANE_ELEMENTS
from gradcheck_lab.model.precision import is_narrow, unit_roundoff, widened
from gradcheck_lab.model.precision.derived_calls import DTYPE_MARGIN, LAST_DIGITS
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.cut_down import cut_down
from gradcheck_lab.probes.support.derived_calls import (
    DerivedCall,
    derived_call_examiner,
    derived_case,
    examine_derived_call,
    narrows,
)
from gradcheck_lab.probes.support.long_sums import long_sums

_REAL = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def dtypes(context: Context) -> Iterator[Finding]:
    """Run the same values in the other dtypes, real or complex ones as the call has; and long sums in 16 bits."""
    small_inputs = cut_down(context, context.case.inputs, LANE_ELEMENTS.value)
    own_dtypes = {v.dtype for v in small_inputs if is_differentiable(v)}
    if not context.derives or not small_inputs or len(own_dtypes) != 1 or context.subject.is_program:
        return
    own_dtype = own_dtypes.pop()
    others: Sequence[torch.dtype] = _REAL if not own_dtype.is_complex else (torch.complex128, torch.complex64)
    reported: set[str | None] = set()
    for dtype in others:
        if dtype == own_dtype:
            continue
        for finding in _findings_in(context, small_inputs, own_dtype, dtype):
            if finding.gradient not in reported:
                reported.add(finding.gradient)
                yield finding
    yield from long_sums(context)


def _findings_in(
    context: Context, small_inputs: tuple[Any, ...], own_dtype: torch.dtype, dtype: torch.dtype
) -> Iterator[Finding]:
    inputs = tuple(v.to(dtype) if is_differentiable(v) else v for v in small_inputs)
    case = derived_case(context, inputs=inputs, label=_name(dtype))
    derived = examine_derived_call(context, case, dtype_differs=True)
    if derived is not None and derived.new_errors and _has_own_dtype(context, case, dtype, derived.new_errors):
        return
    for new_error in () if derived is None else derived.new_errors:
        if derived is not None and _shows_mistake(context, derived, new_error, own_dtype, dtype):
            yield _finding(context, derived, new_error, own_dtype, dtype)


def _has_own_dtype(context: Context, case: Case, dtype: torch.dtype, errors: Sequence[Finding]) -> bool:
    """Whether the forward computes in a dtype of its own whatever it is given: a narrower one, so that its gradients may too,
    or a wider one, as NumPy does, whose upstream a backward need not mix with the inputs."""
    recording = context.record(case)
    if isinstance(recording, Exception) or narrows(recording.outputs, dtype):
        return not isinstance(recording, Exception)
    widest = min((unit_roundoff(o.dtype) for o in recording.outputs if is_differentiable(o)), default=1.0)
    return widest < unit_roundoff(dtype) and all(error.cause in having("no_result") for error in errors)


def _shows_mistake(
    context: Context, derived: DerivedCall, new_error: Finding, own_dtype: torch.dtype, dtype: torch.dtype
) -> bool:
    """Whether an error in another dtype shows a mistake: not a missing kernel, nor, in 16 bits, an error near the budget."""
    if new_error.cause in having("no_result"):
        # a kernel that does not take 16 bits is no mistake
        if is_narrow(dtype) or new_error.exception in OF_ARGUMENTS | SINGULAR:
            return False
        return derived_call_examiner(context).is_raised_by_dtype(derived.examined, new_error)
    pair = derived.returned_and_true(new_error)
    if unit_roundoff(dtype) <= unit_roundoff(own_dtype) or not is_narrow(dtype) or pair is None:
        return True
    return new_error.cause in having("never_rounding") or derived.budget_used(new_error, dtype) > DTYPE_MARGIN.value


def _finding(context: Context, derived: DerivedCall, new_error: Finding, own_dtype: torch.dtype, dtype: torch.dtype) -> Finding:
    cause = new_error.cause if new_error.cause in having("dtype") else "value-dependent"
    suggestion = new_error.suggestion
    if new_error.cause in having("no_result"):
        cause, suggestion = "wrong-dtype", f"make every tensor of the backward in the dtype of {_first_input_name(context)}"
    elif new_error.cause == "non-finite":
        cause, suggestion = "overflow", "compute the intermediate in float32, or use the stable form"
    elif cause == "value-dependent" and _is_off_by_last_digits(derived, new_error, dtype):
        cause, suggestion = "low-precision", f"compute in {_name(dtype)} or wider throughout"
    return replace(
        new_error,
        cause=cause,
        message=f"{new_error.message}, in {_name(dtype)}",
        explanation=f"right in {_name(own_dtype)}, wrong in {_name(dtype)}: {new_error.explanation}",
        suggestion=suggestion,
        probe="dtypes",
        case=_name(dtype),
    )


def _is_off_by_last_digits(derived: DerivedCall, new_error: Finding, dtype: torch.dtype) -> bool:
    """Whether only the last digits of the gradient are wrong: its error is not zero and far smaller than it."""
    pair = derived.returned_and_true(new_error)
    if pair is None:
        return False
    size = float(torch.linalg.vector_norm(widened(pair[1])))
    error = float(torch.linalg.vector_norm(pair[0].to(pair[1]) - pair[1]))
    return 0 < error < LAST_DIGITS.value * size


def _first_input_name(context: Context) -> str:
    return next(context.name(i) for i, v in enumerate(context.case.inputs) if is_differentiable(v))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
