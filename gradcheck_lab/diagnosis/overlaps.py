"""Elements that several outputs were made of, and that got the gradient of one of them alone."""

from __future__ import annotations

import torch

from gradcheck_lab.diagnosis.evidence import Evidence, Explanation
from gradcheck_lab.model.limits import OVERLAP_ELEMENTS
from gradcheck_lab.model.precision import is_narrow
from gradcheck_lab.model.precision.fits import CLEARLY_WRONG, ENOUGH_ELEMENTS


def overlapped(evidence: Evidence) -> Explanation | None:
    """Explain wrong elements that hold one element of grad_output where the reference is the sum of several; else None."""
    if (
        not evidence.real
        or is_narrow(evidence.dtype)
        or not ENOUGH_ELEMENTS.value <= evidence.actual.numel() <= OVERLAP_ELEMENTS.value
    ):
        return None
    upstream = [g.detach().double().reshape(-1) for g in evidence.upstream if g.is_floating_point()]
    given = torch.cat(upstream) if upstream else torch.zeros(0)
    # equal numbers would be one another's sums and parts by chance
    if (
        not 2 <= given.numel() <= OVERLAP_ELEMENTS.value
        or given.unique().numel() * 2 <= given.numel()
        or given.unique().numel() < 4
    ):
        return None
    actual, expected = evidence.actual.double().reshape(-1), evidence.expected.double().reshape(-1)
    error = (actual - expected).abs()
    slack = evidence.rounding * (expected.abs() + float(expected.square().mean().sqrt()))
    wrong = error > CLEARLY_WRONG.value * slack
    if not bool(wrong.any()) or int(wrong.sum()) * 2 > wrong.numel():
        return None
    values, tolerance = given.sort().values, float(slack.max())
    lost = (expected - actual)[wrong]
    single = _among(values, lost, tolerance)
    # where three outputs or more meet, the sum of all but one is lost: most have to be pairs, and each keeps a single one
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
