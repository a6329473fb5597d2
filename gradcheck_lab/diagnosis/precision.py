"""Rounding larger than the dtype explains: a narrower dtype somewhere in the backward."""

from __future__ import annotations

import torch

from gradcheck_lab.calls.precision_settings import settings
from gradcheck_lab.diagnosis.deviation import only_here
from gradcheck_lab.diagnosis.evidence import Claim, Evidence, Explanation, accounts_for
from gradcheck_lab.diagnosis.reduced_products import acts, ran, reductions
from gradcheck_lab.model.precision import BELOW_FLOAT64, is_narrow, unit_roundoff
from gradcheck_lab.model.precision.fits import ENOUGH_ELEMENTS
from gradcheck_lab.model.precision.patterns import (
    ALIGNED_ERROR,
    LEVEL_FROM,
    LEVEL_TO,
    OWN_DTYPE_ROUNDINGS,
    ROUNDED_FROM,
    ROUNDED_TO,
    SMALL_ERROR,
    SMOOTH_SIGNS,
    SPREAD_ERROR,
)


def low_precision(evidence: Evidence) -> Explanation | None:
    """Explain errors as large as the rounding of a narrower dtype; None where they do not look like rounding."""
    actual, expected = evidence.actual, evidence.expected
    if actual.shape != expected.shape or actual.is_complex() or not evidence.small:
        return None
    wide, truth = actual.double(), expected.double()
    error, scale = wide - truth, float(torch.linalg.vector_norm(truth))
    size = float(torch.linalg.vector_norm(error))
    if not 0 < size < SMALL_ERROR.value * scale:
        return None
    found = _through(evidence)
    if found is not None:
        return found
    level = size / scale
    aligned = abs(float((error * truth).sum())) / (size * scale)
    # elements whose error is more than the rounding of the gradient's own dtype
    erring = error.abs() > OWN_DTYPE_ROUNDINGS.value * unit_roundoff(evidence.dtype) * truth.abs()
    for dtype in reversed(BELOW_FLOAT64):
        u = unit_roundoff(dtype)
        if u <= unit_roundoff(evidence.dtype):
            continue
        name = str(dtype).removeprefix("torch.")
        rounded = torch.equal(wide.to(dtype).double(), wide) and not torch.equal(truth.to(dtype).double(), truth)
        at_level = LEVEL_FROM.value * u <= level <= LEVEL_TO.value * u
        spread = float(erring.double().mean()) > SPREAD_ERROR.value and aligned < ALIGNED_ERROR.value and actual.numel() >= 4
        if (rounded and ROUNDED_FROM.value * u <= level <= ROUNDED_TO.value * u) or (
            spread and not _smooth(evidence, error) and at_level
        ):
            what = (
                f"every value is a {name} number"
                if rounded
                else f"the error, {level:.1g} of the gradient, is at {name}'s level"
            )
            setting = _setting(evidence, dtype)
            return Explanation(
                "low-precision",
                f"{what}: {setting}" if setting else what,
                f"compute in {_name(evidence.dtype)} or wider throughout, without a cast to {name}",
                claims=(Claim(name),),
            )
    return _summed_in_16_bits(evidence, level, aligned)


def _summed_in_16_bits(evidence: Evidence, level: float, aligned: float) -> Explanation | None:
    """The explanation of an error of some roundings of a 16-bit dtype, where a setting lets products be summed in it."""
    if not is_narrow(evidence.dtype) or not evidence.marginal or aligned >= ALIGNED_ERROR.value:
        return None
    setting, name = _setting(evidence, evidence.dtype), _name(evidence.dtype)
    if not setting:
        return None
    what = f"the error, {level:.1g} of the gradient, is of some roundings in {name}: {setting}"
    return Explanation("low-precision", what, "sum in float32, as products do without this setting", claims=(Claim(name),))


def _setting(evidence: Evidence, level: torch.dtype) -> str:
    """What is said of a setting of torch that explains an error at the level of a dtype; empty for none."""
    device = evidence.actual.device
    on = [*reductions(device.type, evidence.dtype, level, settings())]
    operators = evidence.operators() if on else None
    return next((each.sentence for each in on if ran(each, operators) and acts(each, device)), "")


def _through(evidence: Evidence) -> Explanation | None:
    """The explanation that one value was rounded to a narrower dtype, and nothing else is wrong; else None."""
    if not evidence.real or evidence.actual.numel() < ENOUGH_ELEMENTS.value:
        return None
    u = unit_roundoff(evidence.dtype)
    for each in evidence.narrowed([dtype for dtype in BELOW_FLOAT64 if unit_roundoff(dtype) > u]):
        if each.gradient is not None and accounts_for(evidence, each.gradient):
            claims, deviation = tuple(Claim(name) for name in each.names), only_here(evidence, each.gradient)
            return Explanation(each.cause, each.sentence, each.suggestion, claims=claims, deviation=deviation)
    return None


def _smooth(evidence: Evidence, error: torch.Tensor) -> bool:
    """Whether the error is a smooth function of an input, so a wrong formula: the sign of a rounding error is random."""
    upstream = [g for g in evidence.upstream if g.shape == error.shape and g.numel() >= 8 and not g.is_complex()]
    for value in evidence.tensors.values():
        if value.shape != error.shape or not value.is_floating_point():
            continue
        for factor in (*upstream, torch.ones_like(error)):
            sign = torch.sign(error * factor.to(error)).reshape(-1)[value.reshape(-1).argsort()]
            sign = sign[sign != 0]
            if sign.numel() >= 8 and int((sign.diff() != 0).sum()) <= sign.numel() // SMOOTH_SIGNS.value:
                return True
    return False


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
