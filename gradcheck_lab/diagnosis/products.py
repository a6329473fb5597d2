"""Products of a gradient and a tensor of the call: with a tensor in another's place, or one of two such terms left out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch

from gradcheck_lab.diagnosis.candidates import Term, upstreams
from gradcheck_lab.diagnosis.deviation import only_here
from gradcheck_lab.diagnosis.evidence import Claim, Evidence, Explanation, about
from gradcheck_lab.diagnosis.terms import Residual, close_to
from gradcheck_lab.model.limits import CANDIDATE_TENSORS, OUTER_PRODUCT_ELEMENTS
from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.model.precision.fits import CHANCE_DIGITS


class Product(NamedTuple):
    """A product of a gradient and a tensor: its formula, the names of both, and its value in the shape of the gradient."""

    form: str
    gradient: str
    tensor: str
    value: torch.Tensor

    @property
    def text(self) -> str:
        return self.form.format(g=self.gradient, t=self.tensor)


def wrong_operand_in_product(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is a product with one tensor of the call where the reference is that with another; else None."""
    residual = _residual(evidence)
    if residual is None or not _tells(residual):
        return None
    products = list(_products(evidence))
    right = [(each, c) for each in products if (c := _fitted(evidence.expected, each, evidence.noise)) is not None]
    for true, c in right:
        for other in products:
            if (other.form, other.gradient) != (true.form, true.gradient) or other.tensor == true.tensor:
                continue
            if float(torch.linalg.vector_norm(evidence.actual.double() - c * other.value)) <= evidence.noise:
                return Explanation(
                    "wrong-operand",
                    f"it is {other.text}, and should be {true.text}",
                    f"put {true.tensor} where {other.tensor} stands, in the gradient of {evidence.name!r}",
                    claims=(Claim(true.text), Claim(other.text)),
                    deviation=only_here(evidence, c * other.value),
                )
    return None


def missing_product(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that lacks a matrix product of another gradient, or of grad_output, and a tensor; else None."""
    residual = _residual(evidence)
    if residual is None or not residual.certain(1):
        return None
    for each in _products(evidence):
        c = _fitted(residual.value, each, residual.noise)
        if c is not None and not _one_alone(evidence, each):
            number = "" if abs(c - 1) < close_to(evidence, residual.noise / residual.size) else f"{c:.6g} * "
            return Explanation(
                "missing-term",
                f"what is missing is {number}{each.text}",
                f"add {number}{each.text} to the gradient of {evidence.name!r}",
                claims=(about(each.text, c, close_to(evidence, residual.noise / residual.size)),),
                deviation=only_here(evidence, evidence.expected.double() - c * each.value),
            )
    return None


def _one_alone(evidence: Evidence, product: Product) -> bool:
    """Whether the whole gradient is a multiple of the product, of which a missing multiple says nothing."""
    return _fitted(evidence.expected, product, evidence.noise) is not None


def _residual(evidence: Evidence) -> Residual | None:
    if not evidence.real or evidence.actual.numel() > OUTER_PRODUCT_ELEMENTS.value:
        return None
    return Residual(evidence)


def _tells(residual: Residual) -> bool:
    """Whether agreement of two elements or more with what was fitted to others is no chance, by the digits of all of them."""
    count = residual.value.numel() - 1
    return 0 < residual.noise < residual.size and count * math.log10(residual.size / residual.noise) >= CHANCE_DIGITS.value


def _fitted(target: torch.Tensor, product: Product, noise: float) -> float | None:
    wanted, basis = target.double(), product.value
    square = float(basis.square().sum())
    if not square > 0:
        return None
    c = float((basis * wanted).sum()) / square
    close = float(torch.linalg.vector_norm(wanted - c * basis)) <= noise
    return c if close and abs(c) > unit_roundoff(torch.float32) else None


def _products(evidence: Evidence) -> Iterator[Product]:
    """Matrix products, and correlations along the last axis, that have the shape of the gradient."""
    shape = evidence.actual.shape
    others = [Term(f"the gradient of {name!r}", g.detach().double()) for name, g in evidence.references.items()]
    for g in (*upstreams(evidence), *others):
        for t in _tensors(evidence):
            if g.value.ndim == t.value.ndim == len(shape) == 2:
                yield from _matrix_products(g, t, shape)
            if g.value.shape == t.value.shape and len(shape) == 1 and g.value.ndim and shape[0] < g.value.shape[-1]:
                yield from _correlations(g, t, shape[0])


def _tensors(evidence: Evidence) -> list[Term]:
    found = [(name, t) for name, t in evidence.tensors.items() if t.is_floating_point() and t.numel() > 0]
    small = [(name, t) for name, t in found if t.numel() <= OUTER_PRODUCT_ELEMENTS.value and bool(torch.isfinite(t).all())]
    return [Term(name, t.detach().double()) for name, t in small[: CANDIDATE_TENSORS.value]]


def _matrix_products(g: Term, t: Term, shape: torch.Size) -> Iterator[Product]:
    for first, of_g in (("{g}", g.value), ("{g}.T", g.value.T)):
        for second, of_t in (("{t}", t.value), ("{t}.T", t.value.T)):
            if of_g.shape[1] == of_t.shape[0] and (of_g.shape[0], of_t.shape[1]) == shape:
                yield Product(f"{first} @ {second}", g.name, t.name, of_g @ of_t)
            if of_t.shape[1] == of_g.shape[0] and (of_t.shape[0], of_g.shape[1]) == shape:
                yield Product(f"{second} @ {first}", g.name, t.name, of_t @ of_g)


def _correlations(g: Term, t: Term, count: int) -> Iterator[Product]:
    """Σ g[i] t[i + k] and Σ g[i + k] t[i] over places and rows, for k from 0 or 1 on."""
    length = g.value.shape[-1]
    for start in (0, 1):
        lags = range(start, start + count)
        if lags.stop > length:
            continue
        later = [(g.value[..., k:] * t.value[..., : length - k]).sum() for k in lags]
        sooner = [(g.value[..., : length - k] * t.value[..., k:]).sum() for k in lags]
        yield Product(f"the correlation of {{g}} with {{t}}, from lag {start} on", g.name, t.name, torch.stack(later))
        yield Product(f"the correlation of {{t}} with {{g}}, from lag {start} on", g.name, t.name, torch.stack(sooner))
