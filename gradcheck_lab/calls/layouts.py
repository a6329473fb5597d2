"""Memory layouts, one row each: a function that returns a tensor's values with other strides.

The Python that a report prints is made from the source of the functions in `LAYOUTS`: each ends in its only `return`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.kinds import KINDS

Layout = Callable[[torch.Tensor], torch.Tensor]


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


LAYOUTS: Mapping[str, Layout] = {"contiguous": contiguous, "transposed": transposed, "sliced": sliced, "offset": offset}
EXPANDED = "expanded"  # the first row, repeated along the leading dimension with stride 0; this changes the values
LAYOUT_NAMES = (*LAYOUTS, EXPANDED)


@dataclass(frozen=True, slots=True)
class NamedLayout:
    """A layout that probes use, with the words that messages have for an upstream gradient and for an input."""

    words: str
    words_of_input: str
    apply: Layout


TRANSPOSED = NamedLayout("transposed", "transposed in memory", transposed)
SLICED = NamedLayout("sliced with an offset", "every second element of a larger tensor, from an offset", every_second)
CHANNELS_LAST = NamedLayout("channels_last", "channels_last", channels_last)


def layout_function(kind: str, layout: str, shape: Sequence[int]) -> Layout:
    """The function of a layout by name; contiguous where a tensor of this kind and shape cannot be expanded."""
    if layout != EXPANDED:
        return LAYOUTS[layout]
    apart = not shape or not shape[0] or (KINDS[kind].rows and len(shape) < 2)
    return LAYOUTS["contiguous"] if apart else expanded


def has_same_layout(a: Any, b: Any) -> bool:
    """Whether two tensors have the same strides and storage offset; True for other values."""
    if not isinstance(a, torch.Tensor):
        return True
    return bool(a.stride() == b.stride()) and a.storage_offset() == b.storage_offset()
