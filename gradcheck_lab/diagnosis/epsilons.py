"""An epsilon that only one of forward and backward has: the relative error is eps/s or eps/s^2."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gradcheck_lab.diagnosis.candidates import Term, axis_sets, computed, factors, per
from gradcheck_lab.diagnosis.evidence import Evidence, Explanation, about
from gradcheck_lab.diagnosis.factors import as_groups, fitted
from gradcheck_lab.diagnosis.terms import Residual
from gradcheck_lab.model.amounts import SAME_EPSILON, SMALLEST_DIVISOR
from gradcheck_lab.model.precision.fits import ENOUGH_ELEMENTS
from gradcheck_lab.model.precision.patterns import (
    CANCELLED,
    CLEAR_RESIDUAL,
    GROUPS_VARY,
    ON_A_LINE,
    ON_A_LINE_AT_MOST,
    SMALL_EPSILON,
    SMALL_ERROR,
    THROUGH_ORIGIN,
    VARIES,
)


def wrong_epsilon(evidence: Evidence) -> Explanation | None:
    """Explain a relative error of eps/s or eps/s^2, with s an input, its norm or its standard deviation; else None."""
    if not evidence.real or evidence.actual.numel() < ENOUGH_ELEMENTS.value:
        return None
    residual = Residual(evidence)
    if not residual.certain(1) or residual.size > SMALL_ERROR.value * float(
        torch.linalg.vector_norm(evidence.expected.double())
    ):
        return None
    return _elementwise(evidence, residual) or _per_group(evidence, residual)


def _elementwise(evidence: Evidence, residual: Residual) -> Explanation | None:
    actual, expected = evidence.actual.double(), evidence.expected.double()
    for t in factors(evidence):
        try:
            value = t.value.expand(actual.shape).abs()
        except RuntimeError:
            continue
        if not bool((value > 0).all()) or float(value.max()) < VARIES.value * float(value.min()):
            continue
        for power, shown in ((1.0, t.name), (2.0, f"{t.name}^2"), (0.5, f"sqrt({t.name})")):
            for base in (actual, expected):
                c = fitted(evidence, residual.value, base / value**power, residual.noise)
                if c is not None and abs(c) < SMALL_EPSILON.value * float((value**power).median()):
                    return _found(abs(c), f"|{t.name}|" if power == 1 else shown)
    return None


def _found(size: float, scale: str, where: str = "") -> Explanation:
    return Explanation(
        "epsilon-mismatch",
        f"the relative error is {size:.2g}/{scale}{where}: an epsilon that only one of forward and backward has",
        "use the same epsilon, in the same place, in forward and backward",
        claims=(about(f"{scale}{where}", size, SAME_EPSILON.value),),
    )


def _per_group(evidence: Evidence, residual: Residual) -> Explanation | None:
    """Explain an epsilon in the divisor of each group, as of a normalisation.

    A gradient A - B of a group, with B a multiple of x, becomes k A - k^3 B where 1/k^2 = 1 + d/(v + eps). So k is computed for
    each group from the part that is no multiple of x, and (v + eps)/d = 1/(1/k^2 - 1) has to be a line in the variance v.
    """
    shape, expected = evidence.actual.shape, evidence.expected.double()
    tensors, inner = factors(evidence), computed(evidence)
    for axes in axis_sets(shape):
        groups = expected.numel() // torch.Size(shape[axis] for axis in axes).numel()
        if groups < 4 or expected.numel() // groups < 3:
            continue
        along: list[torch.Tensor | None] = [None]
        for t in tensors:
            along += [t.value - t.value.mean(axes, keepdim=True), t.value] if t.value.shape == shape else []
        for x in along:
            share = _share(residual, expected, x, axes) if residual.certain(groups if x is None else 2 * groups) else None
            if share is None or float(share.abs().max()) > SMALL_ERROR.value or not bool((share != 0).all()):
                continue
            for name, scale in _scales([*tensors, *inner], share, axes, shape):
                for power in (2, 1):
                    size = _line(scale**power, 1 / ((1 - share) ** -power - 1), residual)
                    if size is not None:
                        return _found(size, f"{name}^2" if power == 2 else name, f" {per(axes, shape)}")
    return None


def _scales(
    tensors: list[Term], like: torch.Tensor, axes: tuple[int, ...], shape: torch.Size
) -> Iterator[tuple[str, torch.Tensor]]:
    """What backwards divide each group by: its standard deviation, its norm, a tensor with one number per group."""
    for t in tensors:
        if t.value.shape == shape:
            centred = t.value - t.value.mean(axes, keepdim=True)
            yield f"std({t.name})", centred.square().mean(axes, keepdim=True).sqrt()
            yield f"norm({t.name})", t.value.square().sum(axes, keepdim=True).sqrt()
        one = as_groups(t.value, like)
        if one is not None:
            yield t.name, one.abs()


def _share(residual: Residual, expected: torch.Tensor, x: torch.Tensor | None, axes: tuple[int, ...]) -> torch.Tensor | None:
    """For each group, a where the residual is a times the reference plus a multiple of x; None where it is not."""
    rest, base = _without(residual.value, x, axes), _without(expected, x, axes)
    square = base.square().sum(axes, keepdim=True)
    if not bool((square > CANCELLED.value * expected.square().sum(axes, keepdim=True)).all()):
        return None
    share = (rest * base).sum(axes, keepdim=True) / square
    left = float(torch.linalg.vector_norm(rest - share * base))
    return share if left <= residual.noise and residual.noise < CLEAR_RESIDUAL.value * residual.size else None


def _without(value: torch.Tensor, x: torch.Tensor | None, axes: tuple[int, ...]) -> torch.Tensor:
    if x is None:
        return value
    norm = x.square().sum(axes, keepdim=True)
    return value - x * torch.where(norm > 0, (value * x).sum(axes, keepdim=True) / norm.clamp(min=SMALLEST_DIVISOR.value), 0)


def _line(x: torch.Tensor, y: torch.Tensor, residual: Residual) -> float | None:
    """1/|a| where the points lie on a line y = a x + b that passes nearly through the origin; else None."""
    x, y = x.reshape(-1), y.reshape(-1)
    if not bool(torch.isfinite(y).all()) or float(x.max()) < GROUPS_VARY.value * float(x.min()):
        return None
    basis = torch.stack([x / y, 1 / y], 1)  # relative to each y
    if not bool(torch.isfinite(basis).all()):
        return None
    solution = torch.linalg.lstsq(basis, torch.ones_like(x).unsqueeze(1)).solution.reshape(-1)
    left = float((basis @ solution - 1).abs().max())
    slope, offset = float(solution[0]), float(solution[1])
    near_origin = slope != 0 and abs(offset) < THROUGH_ORIGIN.value * abs(slope) * float(x.min())
    allowed = max(ON_A_LINE.value, min(ON_A_LINE_AT_MOST.value, residual.noise / residual.size))
    return 1 / abs(slope) if near_origin and left <= allowed else None
