"""One term is missing from a gradient: a skip connection, an inner product per row, norm statistics, one row of a sum."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from gradcheck_lab.diagnosis.candidates import Term, axis_sets, factors, per, terms
from gradcheck_lab.diagnosis.constants import constants, tolerance_of
from gradcheck_lab.diagnosis.deviation import only_here
from gradcheck_lab.diagnosis.evidence import Claim, Evidence, Explanation, about
from gradcheck_lab.model.amounts import SMALLEST_DIVISOR
from gradcheck_lab.model.limits import OUTER_PRODUCT_ELEMENTS, TERM_ELEMENTS
from gradcheck_lab.model.precision.fits import (
    CHANCE_DIGITS,
    DENSE_RESIDUAL,
    ENOUGH_ELEMENTS,
    NAMED_COEFFICIENT,
    SAME_DIRECTION,
    SAME_SPAN,
    VISIBLE_RESIDUAL,
)


def missing_term(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that differs from the reference by one term made of the call's tensors; else None."""
    residual = _residual(evidence)
    return None if residual is None else _single(evidence, residual)


def missing_statistic(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that differs by a number or two for each row times tensors of the call, or an outer product."""
    residual = _residual(evidence)
    if residual is None or _single(evidence, residual) is not None:
        return None  # one number for all rows fits, so that numbers for each row say nothing more
    return _per_group(evidence, residual) or _rank_one(evidence, residual)


def _residual(evidence: Evidence) -> Residual | None:
    if not evidence.real or not ENOUGH_ELEMENTS.value <= evidence.actual.numel() <= TERM_ELEMENTS.value:
        return None
    residual = Residual(evidence)
    return residual if residual.certain(1) else None


class Residual:
    """Reference minus gradient, and whether a fit of it can be chance."""

    def __init__(self, evidence: Evidence) -> None:
        self.value = evidence.expected.double() - evidence.actual.double()
        self.size = float(torch.linalg.vector_norm(self.value))
        self.noise = evidence.noise
        self.confirming = evidence.sought is not None
        # a difference in few elements is explained by where they are, in `positions`
        visible = self.value.abs() > VISIBLE_RESIDUAL.value * self.noise / self.value.numel() ** 0.5
        self.dense = float(visible.double().mean()) > DENSE_RESIDUAL.value

    def explained(self, fit: torch.Tensor) -> bool:
        """Whether the residual is `fit` up to rounding."""
        return float(torch.linalg.vector_norm(self.value - fit)) <= self.noise

    def certain(self, coefficients: int) -> bool:
        """Whether a fit with that many coefficients is no chance: it then predicts all other elements.

        A draw that is to confirm a fit has only to predict something.
        """
        left = self.value.numel() - coefficients
        if self.confirming:
            return 0 < self.noise < self.size and left > 0
        if not 0 < self.noise < self.size or left < max(4, coefficients / 2):
            return False
        return left * math.log10(self.size / self.noise) >= CHANCE_DIGITS.value + left * math.log10(3)


def _single(evidence: Evidence, residual: Residual) -> Explanation | None:
    for term in terms(evidence):
        square = float(term.value.square().sum())
        if square == 0.0 or not math.isfinite(square):
            continue
        coefficient = float((term.value * residual.value).sum()) / square
        if not residual.explained(coefficient * term.value):
            continue
        precision = residual.noise / residual.size
        formula = signed(evidence, coefficient, term, precision)
        skip = term.name == "grad_output" and formula == term.name and evidence.upstream[0].shape == evidence.actual.shape
        why = ": what a skip connection passes on" if skip else ""
        return Explanation(
            "missing-term",
            f"the term {formula} is missing{why}",
            f"add {formula} to the gradient of {evidence.name!r}",
            claims=(about(term.name, coefficient, close_to(evidence, precision)),),
            deviation=only_here(evidence, evidence.expected.double() - coefficient * term.value),
        )
    return None


def signed(evidence: Evidence, coefficient: float, term: Term, precision: float) -> str:
    """`-output * sum(...)`, `1/5 * x`: the term with its coefficient, by name where it has one."""
    sign, size = ("-" if coefficient < 0 else ""), abs(coefficient)
    close = close_to(evidence, precision)
    if abs(size - 1) <= close:
        return f"{sign}{term.name}"
    for value, what, _, _ in constants(evidence):
        if abs(size - value) <= close * abs(value):
            word = {2.0: "2", 0.5: "1/2"}.get(value, what.removesuffix(" times").removesuffix(" of"))
            return f"{sign}{word} * {term.name}"
    return f"{sign}{size:.6g} * {term.name}"


def close_to(evidence: Evidence, precision: float) -> float:
    """The relative error of a coefficient that was fitted to a residual; `precision` is the noise over the residual's size."""
    return max(tolerance_of(evidence), NAMED_COEFFICIENT.value * precision)


def _per_group(evidence: Evidence, residual: Residual) -> Explanation | None:
    """One or two numbers per row or normalised group: a constant, a multiple of a tensor, or both (norm statistics)."""
    if not residual.dense:
        return None
    shape = evidence.actual.shape
    same = [t for t in factors(evidence) if t.value.shape == shape]
    for axes in axis_sets(shape):
        group = torch.Size(shape[axis] for axis in axes).numel()
        groups = residual.value.numel() // group
        for count, basis, text in _bases(axes, shape, same):
            if group <= count + 1 - (count == 1) or not residual.certain(count * groups):
                continue
            projected = _projected(residual.value, basis, axes)
            if not residual.explained(projected):
                continue
            if _in_span(evidence.expected.double(), basis, axes, residual) or _in_span(
                evidence.actual.double(), basis, axes, residual
            ):
                continue  # every gradient of this op lies in this span, so that a missing one says nothing
            return Explanation(
                "missing-term",
                f"what is missing is {text} {per(axes, shape)}{_origin(count, text) if groups > 1 else ''}",
                f"derive the terms of the gradient of {evidence.name!r} that go through what is computed {per(axes, shape)}",
                claims=(Claim(text), Claim(per(axes, shape))),
                deviation=only_here(evidence, evidence.expected.double() - projected),
            )
    return None


def _origin(count: int, text: str) -> str:
    if count == 2:
        return ": the terms of the mean and of the variance or norm"
    if text == "a constant":
        return ": the term of a mean, a maximum or another statistic"
    return ": the term of a variance, norm or another statistic"


def _bases(axes: tuple[int, ...], shape: torch.Size, same: list[Term]) -> Iterator[tuple[int, list[torch.Tensor], str]]:
    yield 1, [torch.ones(shape, dtype=torch.float64)], "a constant"
    for t in same:
        centred = t.value - t.value.mean(axes, keepdim=True)
        yield 1, [t.value], f"a multiple of {t.name}"
        yield 1, [centred], f"a multiple of {t.name} minus its mean"
    for t in same:
        centred = t.value - t.value.mean(axes, keepdim=True)
        yield 2, [torch.ones_like(centred), centred], f"a constant plus a multiple of {t.name}"


def _projected(value: torch.Tensor, basis: list[torch.Tensor], axes: tuple[int, ...]) -> torch.Tensor:
    """The part of `value` in the span of an orthogonal basis, group by group."""
    fit = torch.zeros_like(value)
    for each in basis:
        each = each.to(value)
        square = each.square().sum(axes, keepdim=True)
        dot = (each * value).sum(axes, keepdim=True)
        fit = fit + each * torch.where(square > 0, dot / square.clamp(min=SMALLEST_DIVISOR.value), 0)
    return fit


def _in_span(value: torch.Tensor, basis: list[torch.Tensor], axes: tuple[int, ...], residual: Residual) -> bool:
    return float(torch.linalg.vector_norm(value - _projected(value, basis, axes))) <= SAME_SPAN.value * residual.noise


def _rank_one(evidence: Evidence, residual: Residual) -> Explanation | None:
    """One outer product, as where one row of the batch was left out of a sum over it."""
    if residual.value.ndim != 2 or min(residual.value.shape) < 3 or not residual.dense:
        return None
    rows, columns = residual.value.shape
    if rows * columns > OUTER_PRODUCT_ELEMENTS.value or not residual.certain(rows + columns - 1):
        return None
    left, sizes, right = torch.linalg.svd(residual.value, full_matrices=False)
    if float(torch.linalg.vector_norm(sizes[1:])) > residual.noise:
        return None
    if any(_rank(g.double(), residual.noise) < 2 for g in (evidence.expected, evidence.actual)):
        return None
    u, v = _source(evidence, left[:, 0]), _source(evidence, right[0])
    named = f": {u} times {v}, left out of the sum or counted twice" if u and v else ""
    return Explanation(
        "missing-term",
        f"what is missing is one outer product (rank 1){named}",
        f"sum the gradient of {evidence.name!r} over every row, the first and the last too",
        claims=(Claim(named),),
        deviation=only_here(evidence, evidence.expected.double() - sizes[0] * torch.outer(left[:, 0], right[0])),
    )


def _rank(value: torch.Tensor, noise: float) -> int:
    return int((torch.linalg.svdvals(value) > SAME_SPAN.value * noise).sum())


def _source(evidence: Evidence, direction: torch.Tensor) -> str:
    """The row of a tensor of the call that has this direction, in words; empty where there is none."""
    named = {name: t for name, t in evidence.tensors.items() if t.is_floating_point()}
    named |= {f"grad_output{'' if len(evidence.upstream) == 1 else f' {k}'}": g for k, g in enumerate(evidence.upstream)}
    for name, tensor in named.items():
        if tensor.ndim < 2 or tensor.shape[-1] != direction.numel():
            continue
        rows = tensor.detach().double().reshape(-1, tensor.shape[-1])
        cosine = (rows @ direction).abs() / torch.linalg.vector_norm(rows, dim=1).clamp(min=SMALLEST_DIVISOR.value)
        best = int(cosine.argmax())
        if float(cosine[best]) > 1 - SAME_DIRECTION.value:
            return f"row {best} of {name}"
    return ""
