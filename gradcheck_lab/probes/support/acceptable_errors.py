"""Which errors on derived calls are accepted: small ones, rounding of large values or of narrow forwards, subgradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.masks import size_beside_masks
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.comparison.isolated_rule import call_label
from gradcheck_lab.examination.examined import Examined, NumericTruth
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import BELOW_FLOAT64, unit_roundoff
from gradcheck_lab.model.precision.budget import SAME_ROUNDINGS, SAME_ROUNDINGS_16_BITS
from gradcheck_lab.model.precision.derived_calls import AMPLIFIED_ROUNDINGS, GROSS_ON_DERIVED_CALLS, LARGE_VALUES
from gradcheck_lab.probes.support.kinks import admitted
from gradcheck_lab.probes.support.true_gradients import true_gradient
from gradcheck_lab.subjects.subject import Key


def may_be_rounding(examined: Examined, finding: Finding) -> bool:
    """Whether an error is little more than its budget allows, or no more than the rounding error of large values."""
    if finding.measured is None or not finding.allowed or not math.isfinite(finding.measured):
        return False
    results = [c.result for c in examined.comparisons]
    used = [r.budget_used for r in results if (r.name, r.op) == (finding.gradient, finding.op)]
    share = used[0] if used else finding.measured / finding.allowed
    return 0 < share < GROSS_ON_DERIVED_CALLS.value or _is_amplified_rounding(examined, finding)


def _is_amplified_rounding(examined: Examined, finding: Finding) -> bool:
    """Whether the error is no more than the rounding error of large values: a product of two of size X is off by u X²."""
    call = _backward_call(examined, finding)
    if call is None or finding.measured is None or not call.truth.numel():
        return False
    sizes = [size_beside_masks(v) for v in call.inputs if is_differentiable(v) and v.numel()]
    largest = max([1.0, *sizes])
    if largest < LARGE_VALUES.value:
        return False
    upstream = [g for g in call.upstream if g.numel()]
    # terms that cancel may be as large as the upstream; in float64 a bound of that scale still hides no mistake
    share = [1 if call.dtype == torch.float64 else g.numel() for g in upstream]
    scale = max([float(call.truth.abs().max()), *(float(g.abs().max()) / n for g, n in zip(upstream, share, strict=True))])
    return finding.measured <= AMPLIFIED_ROUNDINGS.value * unit_roundoff(call.dtype) * largest**2 * scale


@dataclass(frozen=True, slots=True)
class _BackwardCall:
    """The call of a backward that a finding is about, and the true gradient of the input in question."""

    inputs: tuple[Any, ...]
    upstream: Sequence[torch.Tensor]
    truth: torch.Tensor
    dtype: torch.dtype


def _backward_call(examined: Examined, finding: Finding) -> _BackwardCall | None:
    """The backward that a finding is about: the subject's own, or that of one op of a program."""
    names, case = examined.subject.names, examined.case
    if not finding.op:
        index = names.index(finding.gradient) if finding.gradient in names else -1
        truth = true_gradient(examined, index)
        return None if truth is None else _BackwardCall(case.inputs, case.grad_outputs or (), truth, case.inputs[index].dtype)
    passed = examined.oracle.truth()
    recorded = examined.run.calls if examined.run is not None else ()
    for k, (call, named) in enumerate(zip(passed.calls, recorded, strict=False)):
        at = call.op.names(len(call.inputs))
        if call_label(named) != finding.op or finding.gradient not in at:
            continue
        index = at.index(finding.gradient)
        truth = passed.gradients.get(Key("share", k, index))
        upstream = [g for j in range(len(call.outputs)) if (g := passed.gradients.get(Key("value", k, j))) is not None]
        if truth is not None:
            return _BackwardCall(call.inputs, upstream, truth.detach(), named.inputs[index].dtype)
    return None


def is_acceptable(examined: Examined, finding: Finding, dtype_differs: bool = False) -> bool:
    """Whether the gradient is a subgradient at a kink, or right for the narrower dtype in which the forward computes.

    On the user's values in another dtype (`dtype_differs`) the last digits count.
    """
    names = examined.subject.names
    if finding.gradient not in names or finding.op or isinstance(examined.truth, NumericTruth):
        return False  # numbers know of kinks, and of the forward's own precision
    index = names.index(finding.gradient)
    actual, truth = examined.returned[index] if index < len(examined.returned) else None, true_gradient(examined, index)
    if truth is None or not isinstance(actual, torch.Tensor) or actual.shape != truth.shape or truth.is_complex():
        return False
    if finding.cause == "wrong-dtype" or not truth.numel():
        return False
    narrower_dtype = _narrower_dtype_of_forward(examined)
    roundings = (SAME_ROUNDINGS if narrower_dtype == torch.float32 else SAME_ROUNDINGS_16_BITS).value
    if narrower_dtype is not None and judge(actual, truth, narrower_dtype, roundings=roundings).passed:
        return True
    return finding.cause != "non-finite" and admitted(examined.oracle, index, actual.detach(), truth, dtype_differs)


def _narrower_dtype_of_forward(examined: Examined) -> torch.dtype | None:
    """The narrower dtype in which the forward computes: its outputs are all representable in it, its inputs are not."""
    inputs = [v.double() for v in examined.oracle.case.inputs if is_differentiable(v) and not v.is_complex()]
    outputs = [o.detach().double() for o in examined.oracle.truth().outputs if is_differentiable(o) and not o.is_complex()]
    if not outputs or sum(o.numel() for o in outputs) < 4 or all(torch.equal(o, o.round()) for o in outputs):
        return None
    for dtype in BELOW_FLOAT64:
        if all(torch.equal(o.to(dtype).double(), o) for o in outputs):
            return dtype if any(not torch.equal(v.to(dtype).double(), v) for v in inputs) else None
    return None
