"""Factors that vary: a tensor of the call, or one number per row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from gradcheck_lab.diagnosis.candidates import Term, axis_sets, computed, factors, per, upstreams
from gradcheck_lab.diagnosis.deviation import only_here
from gradcheck_lab.diagnosis.evidence import Claim, Evidence, Explanation, about
from gradcheck_lab.diagnosis.terms import Residual, close_to
from gradcheck_lab.model.amounts import POWERS, SMALLEST_DIVISOR, STATISTIC_POWERS, USUAL_EPSILONS
from gradcheck_lab.model.precision import is_narrow, unit_roundoff
from gradcheck_lab.model.precision.fits import ENOUGH_ELEMENTS, ERROR_BESIDE_TENSOR, NAMED_COEFFICIENT
from gradcheck_lab.model.precision.patterns import (
    CONSTANT_OVER_GROUPS,
    CONSTANT_OVER_GROUPS_16_BITS,
    CONSTANT_OVER_GROUPS_ROUNDINGS,
    LARGEST_EPSILON,
    ONE_NUMBER,
    SPREAD_EXPLAINED,
)


def varying_factor(evidence: Evidence) -> Explanation | None:
    """Explain a gradient that is the reference times a tensor of the call, or times one number per row; else None."""
    if not evidence.real or evidence.actual.numel() < ENOUGH_ELEMENTS.value:
        return None
    residual = Residual(evidence)
    if not residual.certain(1):
        return None
    return _elementwise(evidence, residual) or _per_group(evidence, residual)


def fitted(evidence: Evidence, target: torch.Tensor, basis: torch.Tensor, noise: float) -> float | None:
    """The coefficient by which `basis` is `target` up to `noise`; None where there is none."""
    square = float(basis.square().sum())
    if not math.isfinite(square) or square == 0.0:
        return None
    coefficient = float((basis * target).sum()) / square
    left = float(torch.linalg.vector_norm(target - coefficient * basis))
    return coefficient if left <= noise else None


def _elementwise(evidence: Evidence, residual: Residual) -> Explanation | None:
    actual, expected = evidence.actual.double(), evidence.expected.double()
    constant = float((actual * expected).sum()) / max(float(expected.square().sum()), SMALLEST_DIVISOR.value)
    # a tensor that hardly varies fits whatever a constant fits
    noise = min(evidence.noise, ERROR_BESIDE_TENSOR.value * float(torch.linalg.vector_norm(actual - constant * expected)))
    upstream_names = {g.name for g in upstreams(evidence)}
    for t, given in _quotients(evidence):
        try:
            value = t.value.expand(actual.shape)
        except RuntimeError:
            continue
        if not bool(value.diff(dim=-1).any() if value.ndim else False) and t.value.numel() < 2:
            continue
        for power in POWERS.value:
            if (power < 0 and bool((value == 0).any())) or (power % 1 and bool((value <= 0).any())):
                continue
            c = fitted(evidence, actual, expected * value**power, noise)
            if c is None or abs(c) < unit_roundoff(evidence.dtype):
                continue
            shown = _power(t.name, abs(power))
            number = "" if abs(c - 1) < NAMED_COEFFICIENT.value * residual.noise / residual.size else f"{c:.6g} * "
            what = f"{number}{shown} times" if power > 0 else f"{number}1/{shown} of"
            undo = "divide" if power > 0 else "multiply"
            # a tensor of the call too many is as likely as its inverse too few
            # whether the upstream itself is used is for a probe, which sends another
            missing = (power < 0 or not given) and t.name not in upstream_names
            left_out = f"{shown if power < 0 else f'1/{shown}'} is left out"
            why = left_out if missing else "a factor of the local derivative is wrong"
            return Explanation(
                "missing-factor" if missing else "wrong-value",
                f"in every element it is {what} the reference: {why}",
                f"{undo} the gradient of {evidence.name!r} by {shown}, or derive the local derivative again",
                claims=(about(f"{t.name}^{power:g}", c, close_to(evidence, residual.noise / residual.size)),),
                deviation=only_here(evidence, c * expected * value**power) if missing else None,
            )
    return None


def _quotients(evidence: Evidence) -> Iterator[tuple[Term, bool]]:
    """Values by which the gradient may be off in every element, and whether they are tensors of the call as they are."""
    given, inner = factors(evidence), computed(evidence)
    yield from ((t, True) for t in (*given, *upstreams(evidence)))
    yield from ((t, False) for t in inner)
    for t in (*given, *inner):
        yield Term(f"(1 - {t.name})", 1 - t.value), False
        yield Term(f"(1 - {t.name}^2)", 1 - t.value.square()), False
        yield Term(f"(1 + {t.name}^2)", 1 + t.value.square()), False
    yield from ((t, False) for t in _derivatives(evidence))


def _derivatives(evidence: Evidence) -> Iterator[Term]:
    """Those of the output by the other inputs, element by element, as far as the output has the shape of the gradient."""
    for g in upstreams(evidence):
        for name, gradient in evidence.references.items():
            if gradient.shape == g.value.shape == evidence.actual.shape and bool((g.value != 0).all()):
                yield Term(f"(the derivative by {name!r})", gradient.detach().double() / g.value)


def _power(name: str, power: float) -> str:
    if power == 1:
        return name
    return f"sqrt({name})" if power == 0.5 else f"{name}^{power:g}"


def _per_group(evidence: Evidence, residual: Residual) -> Explanation | None:
    actual, expected = evidence.actual.double(), evidence.expected.double()
    for axes in axis_sets(actual.shape):
        square = expected.square().sum(axes, keepdim=True)
        if square.numel() == 1 or not bool((square > 0).all()):
            continue
        ratio = (actual * expected).sum(axes, keepdim=True) / square
        predicted = int((expected != 0).sum()) - ratio.numel()
        if predicted < max(4, ratio.numel() / 2) or not residual.certain(ratio.numel()):
            continue
        if float(torch.linalg.vector_norm(actual - ratio * expected)) > evidence.noise:
            continue
        if ratio.numel() == 2 or _two_valued(ratio):
            return None  # saying which groups are wrong explains more
        if _constant(ratio, evidence):
            return None  # one number for all of them
        found = _named_ratio(evidence, ratio, axes)
        # of one number for all of grad_output it is not known which
        fitted_to = None if found.cause == "upstream-scalarized" else only_here(evidence, ratio * expected)
        return replace(found, deviation=fitted_to)
    return None


def _two_valued(ratio: torch.Tensor) -> bool:
    """Whether some groups are right and all others are off by one factor."""
    off = ratio[(ratio - 1).abs() > ONE_NUMBER.value]
    if not 0 < off.numel() < ratio.numel():
        return False
    return bool(((off - off[0]).abs() <= ONE_NUMBER.value * off[0].abs()).all())


def _named_ratio(evidence: Evidence, ratio: torch.Tensor, axes: tuple[int, ...]) -> Explanation:
    where = per(axes, evidence.actual.shape)
    hits = _hits(evidence, ratio)
    if hits is not None:
        name, index, count = hits
        return Explanation(
            "duplicate-index",
            f"the slices that {name!r} hits k times have 1/k of the reference; slice {index} is hit {count} times",
            "add what repeated indices send, as index_add and index_put(accumulate=True) do, instead of averaging it",
            claims=(Claim(f"averaged over {name}"),),
        )
    for g in upstreams(evidence):
        value = as_groups(g.value, ratio)
        if value is not None and bool((value != 0).all()) and _constant(ratio * value, evidence, ratio):
            product = float((ratio * value).reshape(-1)[0])
            return Explanation(
                "upstream-scalarized",
                f"{where}, slice i is {product:.6g}/g[i] times the reference: one number stands for all of {g.name}",
                f"multiply by {g.name} element by element",
                claims=(Claim(g.name), Claim(where)),
            )
    inner = [(t.name, one.abs()) for t in computed(evidence) if (one := as_groups(t.value, ratio)) is not None]
    for place, (name, value) in enumerate(itertools.chain(inner, _statistics(evidence, ratio, axes))):
        in_forward = place < len(inner)
        for power in STATISTIC_POWERS.value:
            close = max(CONSTANT_OVER_GROUPS.value, CONSTANT_OVER_GROUPS_ROUNDINGS.value * evidence.rounding)
            if bool((value > 0).all()) and _constant(ratio * value**-power, evidence, ratio):
                shown = _power(name, abs(power))
                what = f"{shown} times" if power > 0 else f"1/{shown} of"
                c = float((ratio * value**-power).reshape(-1)[0])
                number = "" if abs(c - 1) < ONE_NUMBER.value else f"{c:.6g} * "
                left_out = f": {f'1/{shown}' if power > 0 else shown} is left out"
                return Explanation(
                    "missing-factor" if in_forward else "constant-factor",
                    f"it is {number}{what} the reference, {name} taken {where}{left_out if in_forward else ''}",
                    f"{'divide' if power > 0 else 'multiply'} it by {shown}",
                    claims=(Claim(where), about(f"{name}^{power:g}", c, close)),
                )
    shown = ", ".join(f"{float(v):.4g}" for v in ratio.reshape(-1)[:4])
    more = ", ..." if ratio.numel() > 4 else ""
    return Explanation(
        "constant-factor",
        f"{where} it is a number times the reference, another one each: {shown}{more}",
        f"look at the factor that is computed {where}",
        claims=(Claim(where), Claim("another one each")),
    )


def _constant(value: torch.Tensor, evidence: Evidence, ratio: torch.Tensor | None = None) -> bool:
    """Whether all elements are one number up to rounding, and those of `ratio`, which `value` was computed from, are not."""
    if ratio is not None and _spread(value) > SPREAD_EXPLAINED.value * _spread(ratio):
        return False
    wide = max(CONSTANT_OVER_GROUPS.value, CONSTANT_OVER_GROUPS_ROUNDINGS.value * evidence.rounding)
    tolerance = wide if not is_narrow(evidence.dtype) else CONSTANT_OVER_GROUPS_16_BITS.value
    middle = value.mean()
    return bool(torch.isfinite(middle)) and bool(((value - middle).abs() <= tolerance * middle.abs()).all())


def _spread(value: torch.Tensor) -> float:
    return float((value - value.mean()).abs().max() / value.mean().abs().clamp(min=SMALLEST_DIVISOR.value))


def as_groups(value: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor | None:
    """`value`, which has one number per group, in the shape of `ratio`; None where it does not have one per group."""
    sizes = tuple(n for n in ratio.shape if n != 1)
    if tuple(n for n in value.shape if n != 1) != sizes or value.numel() != ratio.numel():
        return None
    return value.reshape(ratio.shape)


def _hits(evidence: Evidence, ratio: torch.Tensor) -> tuple[str, int, int] | None:
    for name, index in evidence.tensors.items():
        if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool or not index.numel():
            continue
        hits = torch.bincount(index.reshape(-1).clamp(min=0).long(), minlength=ratio.numel()).double()
        if hits.numel() == ratio.numel() and float(hits.max()) > 1:
            hit = hits > 0
            if _constant(ratio.reshape(-1)[hit] * hits[hit], evidence):
                return name, int(hits.argmax()), int(hits.max())
    return None


def _statistics(evidence: Evidence, like: torch.Tensor, axes: tuple[int, ...]) -> Iterator[tuple[str, torch.Tensor]]:
    """Numbers per group that backwards often divide by: tensors with one per group, norms, standard deviations, sums."""
    shape = evidence.actual.shape
    for t in factors(evidence):
        one = as_groups(t.value, like)
        if one is not None:
            yield t.name, one.abs()
        if t.value.shape != shape:
            continue
        centred = t.value - t.value.mean(axes, keepdim=True)
        n = t.value.numel() // like.numel()
        variance = centred.square().mean(axes, keepdim=True)
        yield f"std({t.name})", variance.sqrt()
        for value in sorted({*USUAL_EPSILONS.value, *evidence.numbers.values()}):
            if 0 < value < LARGEST_EPSILON.value:
                yield f"sqrt(var({t.name}) + {value:g})", (variance + value).sqrt()
        yield f"std({t.name}, unbiased)", (centred.square().sum(axes, keepdim=True) / max(1, n - 1)).sqrt()
        yield f"norm({t.name})", t.value.square().sum(axes, keepdim=True).sqrt()
        yield f"sum({t.name})", t.value.sum(axes, keepdim=True)
        yield f"max({t.name})", t.value.abs().amax(axes, keepdim=True)
