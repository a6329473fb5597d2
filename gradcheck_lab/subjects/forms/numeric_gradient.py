"""A rough numeric gradient that tells readings of a call apart; it judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from gradcheck_lab.calls.randomness import preserved_randomness
from gradcheck_lab.model.limits import ELEMENTS_OF_A_READING

_STEP_EXPONENT = -16


def elements_of(value: Any) -> np.ndarray[Any, Any]:
    """The flat indices of a few elements of an array, spread over it."""
    count = int(np.prod(value.shape))
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, ELEMENTS_OF_A_READING.value)).astype(int))


def numeric_elements(
    call: Callable[[Sequence[Any]], Any], values: Sequence[Any], index: int, where: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any] | None:
    """Central differences of `call`, which gives a number, by elements of one of its values; None where it raises."""
    step, found = 2.0**_STEP_EXPONENT, []
    with preserved_randomness(), np.errstate(all="ignore"), torch.no_grad():
        try:
            for at in where:
                ends = [float(call(_moved(values, index, int(at), sign * step))) for sign in (1.0, -1.0)]
                found.append((ends[0] - ends[1]) / (2.0 * step))
        except Exception:
            return None
    slope = np.asarray(found)
    return slope if bool(np.isfinite(slope).all()) else None


def is_close(own: np.ndarray[Any, Any], slope: np.ndarray[Any, Any]) -> bool:
    """Whether a gradient agrees with differences, but for the error of these."""
    size = float(np.abs(slope).max(initial=0.0))
    return bool(np.allclose(own, slope, rtol=1e-3, atol=1e-4 * size + 1e-9))


def is_parallel(own: np.ndarray[Any, Any], slope: np.ndarray[Any, Any]) -> bool:
    """Whether a gradient is a multiple of the differences."""
    scale = float(slope @ slope)
    return scale > 0 and bool(own.any()) and is_close(own, slope * float(own @ slope) / scale)


def _moved(values: Sequence[Any], index: int, at: int, by: float) -> list[Any]:
    moved = [_wide(value) for value in values]
    flat = moved[index].reshape(-1)
    flat[at] += by
    moved[index] = flat.reshape(values[index].shape)
    return moved


def _wide(value: Any) -> Any:
    """A copy of an array in float64 or complex128; other values as they are."""
    if isinstance(value, torch.Tensor):
        return value.detach().double().clone() if value.is_floating_point() else value.clone()
    if isinstance(value, np.ndarray):
        return value.astype(np.float64) if value.dtype.kind == "f" else value.copy()
    return value
