"""What an error on a derived call may be other than a mistake: near the budget, large values, a tie, a narrow dtype inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gradcheck_lab.case import is_differentiable
from gradcheck_lab.probes.kinks import Ramps
from gradcheck_lab.report import Finding
from gradcheck_lab.subject import Key
from gradcheck_lab.tolerance import judge, unit_roundoff

if TYPE_CHECKING:
    from gradcheck_lab.examine import Examination

# a mistake that only some calls show is gross there: what is nearly within the budget is ill-conditioned
_MARGIN = 10.0


def truth_of(examination: Examination, index: int) -> torch.Tensor | None:
    try:
        found = examination.oracle.truth().gradients.get(Key("input", index))
    except Exception:  # no truth, as where the forward cannot be followed
        return None
    return None if found is None else found.detach()


def marginal(examination: Examination, finding: Finding) -> bool:
    result = next(
        (c.result for c in examination.comparisons if (c.result.name, c.result.op) == (finding.gradient, finding.op)), None
    )
    if result is None:
        return False
    return 0 < result.budget_used < _MARGIN or _amplified(examination, finding)


def _amplified(examination: Examination, finding: Finding) -> bool:
    """Whether the error is what large values make of rounding: a product of two values of size X is off by u X²."""
    names, inputs = examination.subject.names, examination.case.inputs
    if finding.gradient not in names or finding.op:
        return False
    index = names.index(finding.gradient)
    actual, truth = examination.returned[index] if index < len(examination.returned) else None, truth_of(examination, index)
    if not isinstance(actual, torch.Tensor) or truth is None or actual.shape != truth.shape or not truth.numel():
        return False
    sizes = [float(v.abs().max()) for v in inputs if is_differentiable(v) and v.numel()]
    largest = max([1.0, *sizes])
    if largest < 10 or not bool(torch.isfinite(actual).all()):
        return False
    upstream = [g for g in examination.case.grad_outputs or () if g.numel()]
    # where the truth cancels, its terms are as large as the upstream; in float64 that hides nothing
    share = [1 if actual.dtype == torch.float64 else g.numel() for g in upstream]
    scale = max([float(truth.abs().max()), *(float(g.abs().max()) / n for g, n in zip(upstream, share, strict=True))])
    error = float((actual.to(truth) - truth).abs().max())
    return error <= 64 * unit_roundoff(actual.dtype) * largest**2 * scale


def excused(examination: Examination, finding: Finding, ramps: Ramps) -> bool:
    """Whether the gradient is a subgradient at a tie, or right at the precision that the forward itself works in."""
    names = examination.subject.names
    if finding.gradient not in names or finding.op:
        return False
    index = names.index(finding.gradient)
    actual, truth = examination.returned[index] if index < len(examination.returned) else None, truth_of(examination, index)
    if truth is None or not isinstance(actual, torch.Tensor) or actual.shape != truth.shape or truth.is_complex():
        return False
    if finding.cause == "wrong-dtype" or not truth.numel():
        return False
    inside = _inside(examination)
    if inside is not None and judge(actual, truth, inside, roundings=64 if inside == torch.float32 else 4).passed:
        return True
    return finding.cause != "non-finite" and ramps.admits(index, actual.detach(), truth)


def _inside(examination: Examination) -> torch.dtype | None:
    """The narrower dtype that the forward works in: all its outputs are numbers of it, and its inputs are not."""
    inputs = [v.double() for v in examination.oracle.case.inputs if is_differentiable(v) and not v.is_complex()]
    outputs = [o.detach().double() for o in examination.oracle.truth().outputs if is_differentiable(o) and not o.is_complex()]
    if not outputs or sum(o.numel() for o in outputs) < 4 or all(torch.equal(o, o.round()) for o in outputs):
        return None
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        if all(torch.equal(o.to(dtype).double(), o) for o in outputs):
            return dtype if any(not torch.equal(v.to(dtype).double(), v) for v in inputs) else None
    return None
