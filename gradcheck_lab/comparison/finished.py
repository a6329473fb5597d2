"""Comparison of gradients that are finished: neither side can be run again, and neither is the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.tensor_kinds import is_sparse, what_else
from gradcheck_lab.comparison.budget import Judgement, judge
from gradcheck_lab.comparison.compared import Comparison, result_of
from gradcheck_lab.comparison.gradient import compare_gradient
from gradcheck_lab.comparison.notebook_noise import Bounds
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.limits import FEW_SIZES
from gradcheck_lab.model.precision import is_narrow, is_wide, unit_roundoff, wide_dtype
from gradcheck_lab.model.precision.budget import (
    AGREE,
    AGREE_16_BITS,
    DIFFER,
    DIFFER_16_BITS,
    ROUNDINGS_OF_A_STEP,
    ROUNDINGS_OF_NO_STEP,
)

Evidences = Callable[[Slot], Callable[[torch.Tensor, torch.Tensor], Evidence]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sides of one gradient; `reason` says why there is no reference, `where` what holds the hand-made side."""

    name: str
    manual: Any
    reference: torch.Tensor | None
    reason: str | None = None
    where: str | None = None
    tensor: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class Wrong:
    """A gradient that differs in its numbers and is not explained yet."""

    slot: Slot
    found: Judgement
    manual: torch.Tensor
    expected: torch.Tensor


@dataclass(frozen=True, slots=True)
class Finished:
    """The outcome of one pair; `wrong` where it differs in numbers, whose findings are yet to be made."""

    pair: Pair
    comparison: Comparison
    wrong: Wrong | None = None


def compare_pair(pair: Pair, evidences: Evidences, bounds: Bounds, scale: float) -> Finished:
    """Compare one pair: rounding may do what `bounds` say; where they are not known, what it does beside terms of `scale`."""
    manual = as_tensor(pair.manual, pair.name, "manual")
    like = pair.reference if pair.reference is not None else manual
    if like is None:
        raise InvalidArgument(f"nothing to compare: {pair.name!r} is None on both sides; pass the gradients")
    if not (like.is_floating_point() or like.is_complex()):
        like = like.double()
    label = repr(pair.name) if pair.where is None else f"{pair.name!r} ({pair.where})"
    slot = Slot(pair.name, label, tuple(like.shape), like.dtype, like.device, reference="reference")
    if pair.reference is None and pair.reason is None:
        return Finished(pair, compare_gradient(slot, manual, None, lambda level: [], evidences(slot)))
    if pair.reason is not None:
        empty = judge(like.new_zeros(0), like.new_zeros(0).double(), slot.dtype)
        result = result_of(slot, empty, like, like, "inconclusive")
        return Finished(pair, Comparison(replace(result, reason=pair.reason)))
    assert pair.reference is not None
    expected = pair.reference.detach().to(wide_dtype(like.dtype))
    alike = isinstance(manual, torch.Tensor) and tuple(manual.shape) == slot.shape and manual.device == slot.device
    if not isinstance(manual, torch.Tensor) or not alike or manual.is_complex() != expected.is_complex():
        return Finished(pair, compare_gradient(slot, manual, expected, lambda level: [], evidences(slot)))
    return _numbers(pair, slot, manual.detach(), expected, bounds, scale)


def _numbers(pair: Pair, slot: Slot, manual: torch.Tensor, expected: torch.Tensor, bounds: Bounds, scale: float) -> Finished:
    agree, differ = (AGREE_16_BITS, DIFFER_16_BITS) if is_narrow(slot.dtype) else (AGREE, DIFFER)
    samples = bounds.references(expected, ROUNDINGS_OF_A_STEP.value) if bounds.known else []
    found = judge(manual, expected, slot.dtype, samples, roundings=agree.value)
    unlike = bool((torch.isfinite(manual) & ~torch.isfinite(expected)).any())
    if found.passed and (unlike or found.unjudged == found.elements):
        where = "where manual is finite" if unlike else "in any element"
        result = result_of(slot, found, manual, expected, "inconclusive")
        return Finished(pair, Comparison(replace(result, reason=f"{pair.name!r} of the reference is not finite {where}")))
    if found.passed:
        return Finished(pair, Comparison(result_of(slot, found, manual, expected, "pass"), (), found.sensitivity))
    if bounds.known:
        wider = bounds.references(expected, ROUNDINGS_OF_NO_STEP.value)
        doubtful = judge(manual, expected, slot.dtype, wider, roundings=agree.value).passed
    else:
        doubtful = _is_noise(manual, expected, slot.dtype, scale)
        doubtful = doubtful or judge(manual, expected, slot.dtype, roundings=differ.value).passed
    if doubtful:
        how = "check the op with gl.check" if is_wide(slot.dtype) else "run both in float64, or check the op with gl.check"
        reason = f"{pair.name!r} differs by more than rounding usually does and less than a mistake; {how}"
        return Finished(pair, Comparison(replace(result_of(slot, found, manual, expected, "inconclusive"), reason=reason)))
    result = result_of(slot, found, manual, expected, "fail")
    return Finished(pair, Comparison(result), Wrong(slot, found, manual, expected))


def _is_noise(manual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype, scale: float) -> bool:
    """Whether both sides may be all that rounding left of terms of size `scale` that cancelled."""
    noise = AGREE.value * unit_roundoff(dtype) * scale
    level = float(expected.abs().max()) <= noise and float(manual.abs().max()) <= noise
    return level and not _proportional(manual, expected, dtype)


def _proportional(manual: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether one is a multiple of the other, as rounding left by cancellation is not, in elements of several sizes."""
    sizes, square = expected.abs(), (expected.conj() * expected).sum()
    if len(sizes.unique()) < FEW_SIZES.value or not bool(sizes.all()):
        return False
    factor = (expected.conj() * manual.to(expected)).sum() / square
    return bool(factor != 0) and judge(manual, factor * expected, dtype, roundings=AGREE.value).passed


def as_tensor(value: Any, name: str, side: str) -> torch.Tensor | None:
    """A side of a pair as a dense tensor. Raises `InvalidArgument` where it is none."""
    if value is None:
        return None
    if not isinstance(value, torch.Tensor):
        try:
            return torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise InvalidArgument(f"{side} {name!r} is a {type(value).__name__}; pass a tensor, an array or a number") from None
    if is_sparse(value):
        return value.detach().to_dense()
    if (other := what_else(value)) is not None:
        raise InvalidArgument(f"{side} {name!r} is {other[0]}; pass {other[1]}")
    return value
