"""How a tensor lies in memory, one row each: a function that gives the same values other strides.

The Python that a report prints is made from the source of those that are drawn: each ends in its only `return`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.kinds import KINDS

Place = Callable[[torch.Tensor], torch.Tensor]


def contiguous(value: torch.Tensor) -> torch.Tensor:
    return value.contiguous()


def transposed(value: torch.Tensor) -> torch.Tensor:
    axes = tuple(reversed(range(value.ndim)))
    return value.permute(axes).contiguous().permute(axes)


def sliced(value: torch.Tensor) -> torch.Tensor:
    room = value.new_zeros([2 * size + 1 for size in value.shape])
    return room[tuple(slice(1, None, 2) for _ in value.shape)].copy_(value)


def offset(value: torch.Tensor) -> torch.Tensor:
    return value.new_zeros(value.numel() + 1)[1:].view(value.shape).copy_(value)


def expanded(value: torch.Tensor) -> torch.Tensor:
    return value[:1].expand(value.shape)


def every_second(value: torch.Tensor) -> torch.Tensor:
    if not value.ndim:
        return value
    wide = value.new_full((*value.shape[:-1], 2 * value.shape[-1] + 3), 0.5)
    view = wide[..., 3::2] if value.shape[-1] else wide[..., :0]
    return view.copy_(value)


def channels_last(value: torch.Tensor) -> torch.Tensor:
    return value if value.ndim < 4 else value.movedim(1, -1).contiguous().movedim(-1, 1)


LAYOUTS: Mapping[str, Place] = {"contiguous": contiguous, "transposed": transposed, "sliced": sliced, "offset": offset}
EXPANDED = "expanded"  # the first row along the leading dimension, repeated without copies: other values where rows differ
LAYOUT_NAMES = (*LAYOUTS, EXPANDED)


@dataclass(frozen=True, slots=True)
class Tried:
    """A layout that a probe gives the user's tensors: its words for an upstream gradient and for an input."""

    words: str
    words_of_input: str
    place: Place


TRANSPOSED = Tried("transposed", "transposed in memory", transposed)
SLICED = Tried("sliced with an offset", "every second element of a larger tensor, from an offset", every_second)
CHANNELS_LAST = Tried("channels_last", "channels_last", channels_last)


def place_of(kind: str, layout: str, shape: Sequence[int]) -> Place:
    """The function of a layout; rows that are one thing are not repeated, and an expanded tensor needs a dimension."""
    if layout != EXPANDED:
        return LAYOUTS[layout]
    apart = not shape or not shape[0] or (KINDS[kind].rows and len(shape) < 2)
    return LAYOUTS["contiguous"] if apart else expanded


def placed_alike(a: Any, b: Any) -> bool:
    """Whether two tensors lie alike in memory: same strides, same offset; true of what is no tensor."""
    if not isinstance(a, torch.Tensor):
        return True
    return bool(a.stride() == b.stride()) and a.storage_offset() == b.storage_offset()
