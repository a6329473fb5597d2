"""Kinds of values and of layouts that a drawn tensor has, each a function of a tensor and the Python that does the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

Layout = Callable[[torch.Tensor], torch.Tensor]
Profile = Callable[[torch.Tensor, torch.Generator], torch.Tensor]

# kinds whose values a profile may change; what then lies outside the kind stays as drawn
SIGNS: Mapping[str, Callable[[torch.Tensor], torch.Tensor] | None] = {
    "real": None,
    "positive": lambda value: value > 0,
    "nonzero": lambda value: value != 0,
}
_ROWS = frozenset({"probabilities", "one_hot"})


def ordinary(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value


def zeros(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.masked_fill(torch.rand(value.shape, generator=generator) < 0.5, 0.0)


def ties(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.round().add(0.0123)  # away from zeros and bounds: only the ties are kinks


def equal(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.full_like(value, 0.7123)  # no bound of any usual clamp, hinge or knot


def whole(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.round()


def large(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.mul(min(1e4, torch.finfo(value.dtype).max ** 0.25))  # a few multiplied are still finite


def tiny(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return value.mul(max(1e-8, torch.finfo(value.dtype).tiny ** 0.5))  # two multiplied are still normal numbers


PROFILES: Mapping[str, Profile] = {
    "ordinary": ordinary,
    "equal": equal,
    "ties": ties,
    "zeros": zeros,
    "whole": whole,
    "large": large,
    "tiny": tiny,
}
WRITTEN = "written"  # values that no profile made


def profiled(kind: str, profile: str, value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A drawn tensor with the values of `profile`, as far as its kind admits them; ties make integers and masks one value."""
    if profile in ("ordinary", WRITTEN) or not value.numel():
        return value
    if kind in SIGNS:
        shaped, within = PROFILES[profile](value, generator), SIGNS[kind]
        return shaped if within is None else shaped.where(within(shaped), value)
    if profile not in ("ties", "equal") or kind == "one_hot":
        return value
    if kind == "probabilities":
        return torch.full_like(value, 1 / max(1, value.shape[-1] if value.ndim else 1))
    return torch.full_like(value, value.reshape(-1)[0].item())


def contiguous(value: torch.Tensor) -> torch.Tensor:
    return value.contiguous()


def transposed(value: torch.Tensor) -> torch.Tensor:
    axes = tuple(reversed(range(value.ndim)))
    return value.permute(axes).contiguous().permute(axes)


def sliced(value: torch.Tensor) -> torch.Tensor:
    room = value.new_zeros([2 * size + 1 for size in value.shape])
    part = room[tuple(slice(1, None, 2) for _ in value.shape)]
    return part.copy_(value)


def offset(value: torch.Tensor) -> torch.Tensor:
    room = value.new_zeros(value.numel() + 1)
    return room[1:].view(value.shape).copy_(value)


LAYOUTS: Mapping[str, Layout] = {"contiguous": contiguous, "transposed": transposed, "sliced": sliced, "offset": offset}


def expanded(value: torch.Tensor) -> torch.Tensor:
    """The first row along the leading dimension, repeated without copies (stride 0)."""
    return value[:1].expand(value.shape) if value.ndim and value.shape[0] else value


def laid_out(kind: str, layout: str, value: torch.Tensor) -> torch.Tensor:
    """The tensor in the given layout; an expanded one repeats its first row, where rows are what a leading dimension holds."""
    if layout != "expanded":
        return LAYOUTS[layout](value)
    return value if kind in _ROWS and value.ndim < 2 else expanded(value)


LAYOUT_NAMES = (*LAYOUTS, "expanded")
