"""Values like those that the user gave: in another shape, of the same range, structure and sign."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.moves import JITTER, jittered


def resembling(given: torch.Tensor, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Values like those of `given` in another shape: drawn among them, apart from one another, with their structure."""
    count = 1
    for size in shape:
        count *= size
    flat = given.detach().reshape(-1)
    if not flat.numel():
        fresh = torch.randn(count, generator=generator, dtype=torch.float64)
        return fresh.to(given.device, given.dtype).reshape(tuple(shape))
    picked = flat[torch.randint(0, flat.numel(), (count,), generator=generator).to(flat.device)]
    if is_differentiable(given):
        whole = bool((flat == flat.real.round() if flat.is_complex() else flat == flat.round()).all())
        if not whole:
            picked = jittered(picked, JITTER, generator)
    return structured(given, picked.reshape(tuple(shape)))


def structured(given: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Give `value` what holds of `given`: range [0, 1], rows that sum to one, symmetry, a triangle, sorted rows."""
    if not is_differentiable(given) or given.is_complex() or not given.numel() or not value.numel() or not value.ndim:
        return value
    low, high = float(given.min()), float(given.max())
    if low >= 0 and high <= 1:
        value = value.abs().clamp(max=1)
        sums = given.double().sum(-1) if given.ndim else given.double()
        if given.ndim and given.shape[-1] > 1 and bool(((sums - 1).abs() < 1e-3).all()):
            return _one_per_row(given, value)
    elif low >= 0:
        value = value.abs()
    if min(given.ndim, value.ndim) >= 2 and given.shape[-1] == given.shape[-2] > 1 and value.shape[-1] == value.shape[-2]:
        if torch.equal(given, given.mT):
            return (value + value.mT) / 2
        for keep in (torch.tril, torch.triu):
            if torch.equal(given, keep(given)):
                return keep(value)
    if given.ndim and given.shape[-1] > 3 and bool((given.diff(dim=-1) > 0).all()):
        return value.sort(-1).values
    return value


def _one_per_row(given: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    if bool(((given == 0) | (given == 1)).all()):
        place = torch.rand(value.shape, generator=torch.Generator().manual_seed(value.numel()))
        return (place == place.amax(-1, keepdim=True)).to(value)
    value = value + 0.05
    return value / value.sum(-1, keepdim=True)
