"""Digits that a backward loses at stress values in float64, where it is right to most of them: in float32 none may be left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.causes import CAUSES, having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.model.precision.derived_calls import GROSS_CHANGE
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.derived_calls import DerivedCall, examine_derived_call
from gradcheck_lab.probes.support.steadiness import is_steady

_SINGLE = torch.float32


def lost_in_float32(context: Context, derived: DerivedCall) -> Iterator[Finding]:
    """Errors of the same call in float32, of gradients that have lost as many digits in float64 as float32 has.

    In float64 that is rounding, which sound rules have at extreme values too. In float32 the forward has to be finite, and no
    reference in float32 may be as wrong.
    """
    lost = {(f.op, f.gradient): f for f in derived.examined.findings if _loses(context, derived, f)}
    if derived.new_errors or not context.uses_autograd or not lost:
        return
    narrow = tuple(v.to(_SINGLE) if is_differentiable(v) else v for v in derived.inputs)
    again = examine_derived_call(context, replace(derived.case, inputs=narrow, grad_outputs=None))
    if again is None or not is_steady(again):
        return
    row = CAUSES["low-precision"]
    for error in again.new_errors:
        before = lost.get((error.op, error.gradient))
        if before is None or not _is_gross(again, error):
            continue
        pair = derived.returned_and_true(before)
        assert pair is not None
        off = f"in float64 it is off by {_share(*pair):.0e} of the largest, in float32 by all of it"
        yield replace(
            error,
            cause=row.name,
            message=f"{error.message}, in float32",
            explanation=f"terms cancel there: {off}",
            suggestion=row.fix if before.cause == row.name else "write it without the difference of nearly equal numbers",
        )


def _loses(context: Context, derived: DerivedCall, finding: Finding) -> bool:
    """Whether a gradient of float64, right on the call as given, is off by as much as leaves nothing of it in float32."""
    if derived.input_index(finding) in context.wrong_inputs:
        return False
    pair = derived.returned_and_true(finding) if finding.cause not in having("no_result") else None
    if finding.severity != "error" or pair is None or pair[0].dtype != torch.float64 or not pair[1].numel():
        return False
    digits = unit_roundoff(torch.float64) / unit_roundoff(_SINGLE)
    return _share(*pair) > GROSS_CHANGE.value * digits


def _is_gross(again: DerivedCall, error: Finding) -> bool:
    if error.cause == "non-finite":
        return True
    pair = again.returned_and_true(error)
    return pair is not None and _share(*pair) > GROSS_CHANGE.value


def _share(actual: torch.Tensor, truth: torch.Tensor) -> float:
    """The largest error as a share of the largest element."""
    return float((actual.double() - truth).abs().max() / truth.abs().max())
