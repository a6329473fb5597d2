"""Elements that several outputs depend on, with the gradient of only one of these outputs."""

from __future__ import annotations

import torch

from gradcheck_lab.diagnosis.evidence import Evidence, Explanation
from gradcheck_lab.model.limits import OVERLAP_ELEMENTS
from gradcheck_lab.model.precision import is_narrow
from gradcheck_lab.model.precision.fits import CLEARLY_WRONG, ENOUGH_ELEMENTS


def missing_overlap_sum(evidence: Evidence) -> Explanation | None:
    """Explain wrong elements that hold one element of grad_output where the reference is the sum of several; else None."""
    if (
        not evidence.real
        or is_narrow(evidence.dtype)
        or not ENOUGH_ELEMENTS.value <= evidence.actual.numel() <= OVERLAP_ELEMENTS.value
    ):
        return None
    upstream = [g.detach().double().reshape(-1) for g in evidence.upstream if g.is_floating_point()]
    upstream_values = torch.cat(upstream) if upstream else torch.zeros(0)
    # with many equal numbers a sum of some would be another one by chance
    if (
        not 2 <= upstream_values.numel() <= OVERLAP_ELEMENTS.value
        or upstream_values.unique().numel() * 2 <= upstream_values.numel()
        or upstream_values.unique().numel() < 4
    ):
        return None
    actual, expected = evidence.actual.double().reshape(-1), evidence.expected.double().reshape(-1)
    error = (actual - expected).abs()
    allowed = evidence.rounding * (expected.abs() + float(expected.square().mean().sqrt()))
    wrong = error > CLEARLY_WRONG.value * allowed
    if not bool(wrong.any()) or int(wrong.sum()) * 2 > wrong.numel():
        return None
    values, tolerance = upstream_values.sort().values, float(allowed.max())
    lost = (expected - actual)[wrong]
    single = _among(values, lost, tolerance)
    # where three or more outputs overlap, the sum of all but one is missing; so most elements have to belong to two outputs,
    # and every element has to hold the gradient of one
    kept = _among(values, actual[wrong], tolerance) & (expected[wrong].abs() > tolerance)
    if not bool(kept.all()) or float(single.double().mean()) <= 0.5:
        return None
    at = tuple(int(k) for k in torch.unravel_index(wrong.nonzero()[int(single.int().argmax())][0], evidence.actual.shape))
    return Explanation(
        "duplicate-index",
        f"each wrong element, such as {list(at)}, holds one element of grad_output where the reference adds several",
        "add where windows or indices overlap, as scatter_add and index_put(accumulate=True) do",
    )


def _among(values: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Whether each wanted number is one of the sorted values."""
    place = torch.searchsorted(values, wanted).clamp(0, values.numel() - 1)
    before = (place - 1).clamp(min=0)
    return torch.minimum((values[place] - wanted).abs(), (values[before] - wanted).abs()) <= tolerance
