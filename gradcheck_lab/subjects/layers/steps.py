"""A backward that steps the parameters of its layer itself, as many courses write it: what is a step, and what undoes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.model.precision.fits import STEP_ROUNDINGS
from gradcheck_lab.subjects.layers.numpy_boundary import from_native
from gradcheck_lab.subjects.layers.paths import ObjectPath


def copied(value: Any) -> Any:
    """A copy of an array or a tensor; a number as it is."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return value.copy() if isinstance(value, np.ndarray) else value


def is_changed(before: Any, after: Any) -> bool:
    """Whether a parameter is another one than before."""
    old, new = from_native(before), from_native(after)
    if not isinstance(old, torch.Tensor) or not isinstance(new, torch.Tensor) or old.shape != new.shape:
        return before is not after
    return not torch.equal(torch.nan_to_num(old), torch.nan_to_num(new))


def is_step(before: Any, after: Any, gradient: Any) -> bool:
    """Whether a parameter was stepped with this gradient: against it in every element, or by a multiple of it plus a decay."""
    old, new = from_native(before), from_native(after)
    if not all(isinstance(v, torch.Tensor) for v in (old, new, gradient)) or not old.shape == new.shape == gradient.shape:
        return False
    if old.is_complex() or gradient.is_complex():
        old, new, gradient = (torch.view_as_real(v.to(torch.complex128)) for v in (old, new, gradient))
    flat = [v.detach().double().reshape(-1) for v in (old, new, gradient)]
    moved, slope = flat[1] - flat[0], flat[2]
    if bool((moved * slope <= 0).all()):
        return bool((moved * slope < 0).any())
    basis = torch.stack([-slope, -flat[0]], dim=1)
    if len(moved) <= basis.shape[1]:
        return False
    rate, decay = torch.linalg.lstsq(basis, moved[:, None]).solution[:, 0]
    noise = STEP_ROUNDINGS.value * unit_roundoff(from_native(before).dtype) * float(flat[0].norm() + flat[1].norm())
    left = float((moved - basis @ torch.stack([rate, decay])).norm())
    return left <= noise < float(rate * slope.norm()) and float(decay) >= 0


def put_back(layer: Any, path: ObjectPath, held: Any, before: Any) -> None:
    """Give a layer its parameter from before: in the array `held` itself, which others may hold too."""
    if isinstance(held, torch.Tensor):
        with torch.no_grad():
            held.copy_(before)
    elif isinstance(held, np.ndarray) and held.flags.writeable:
        held[...] = before
    else:
        held = before
    if path.find(layer) is not held:
        path.set(layer, held)
