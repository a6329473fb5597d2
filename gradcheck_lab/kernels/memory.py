"""The memory that an interpreted kernel is handed: copies of its tensors, each alone in a wide zone."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gradcheck_lab.model.limits import GUARD_BYTES

Array = npt.NDArray[Any]


@dataclass(slots=True)
class Zone:
    """The copy of one storage between two guards. Addresses are those of the copy, sizes are in bytes.

    `closed` marks bytes of the storage that are not the kernel's to touch, None for no such bytes. While programs run as
    if at once, `writers` has the program that wrote a byte first, -1 for none, and `before` the bytes as they were.
    """

    start: int
    size: int
    buffer: Array
    original: int
    names: list[str] = field(default_factory=list)
    closed: Array | None = None
    writers: Array | None = None
    before: Array | None = None
    touched: dict[int, set[int]] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """The first address of the zone."""
        return self.start - GUARD_BYTES.value

    @property
    def last(self) -> int:
        """The address after the zone's last."""
        return self.start + self.size + GUARD_BYTES.value

    @property
    def name(self) -> str:
        """The arguments whose storage it is."""
        return " or ".join(dict.fromkeys(self.names))

    def view(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor of the same strides and offset within the copy."""
        storage = torch.from_numpy(self.buffer).untyped_storage()
        offset = GUARD_BYTES.value // tensor.element_size() + tensor.storage_offset()
        made = torch.empty(0, dtype=tensor.dtype)
        return made.set_(storage, offset, tensor.size(), tensor.stride())

    def run_at_once(self) -> None:
        """Remember from now on who writes what, and what was there before."""
        inside = self.buffer[GUARD_BYTES.value : GUARD_BYTES.value + self.size]
        self.writers, self.before = np.full(self.size, -1, dtype=np.int64), inside.copy()

    def restore(self) -> None:
        """Copy what the kernel has written to where the tensor is."""
        if self.size:
            ctypes.memmove(self.original, self.start, self.size)


def zone_of(tensor: torch.Tensor, views: Sequence[torch.Tensor] = ()) -> Zone:
    """A copy of a tensor's whole storage in a zone of its own; where that is of one of `views`, its gaps are closed."""
    storage = tensor.untyped_storage()
    size = storage.nbytes()
    buffer = np.empty(size + 2 * GUARD_BYTES.value, dtype=np.uint8)  # pages that nobody touches take no memory
    start = buffer.ctypes.data + GUARD_BYTES.value
    if size:
        ctypes.memmove(start, storage.data_ptr(), size)
    mine = [view for view in views if size and view.untyped_storage().data_ptr() == storage.data_ptr()]
    return Zone(start, size, buffer, storage.data_ptr(), closed=_closed(mine, size) if mine else None)


def _closed(views: Sequence[torch.Tensor], size: int) -> Array:
    """Which bytes of a storage are of none of these views of it."""
    closed = np.ones(size, dtype=bool)
    for view in views:
        places = torch.zeros(size // view.element_size(), dtype=torch.bool)
        places.as_strided(view.size(), view.stride(), view.storage_offset()).fill_(True)
        closed &= ~np.repeat(places.numpy(), view.element_size())
    return closed
