"""What a module writes to its buffers apart from autograd, kept from one run for others: it is no function of the inputs.

Spectral normalisation's power iteration is one: autograd takes the vectors for constants, and a numeric derivative would not,
did it not find the same vectors at every point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gradcheck_lab.torch_internals import DispatchMode, schema

Writes = list[torch.Tensor]


class BufferWrites(DispatchMode):
    """A dispatch mode that notes every value written to one of `buffers` without autograd; with `replay`, puts those there."""

    def __init__(self, buffers: Mapping[str, torch.Tensor], replay: Writes | None = None) -> None:
        super().__init__()
        self.places = {value.untyped_storage().data_ptr() for value in buffers.values()} - {0}
        self.writes: Writes = []
        self.replay = iter(replay or ())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if schema(func).is_mutable and not torch.is_grad_enabled():
            for place in self._written(func, args, kwargs or {}):
                kept = next(self.replay, None)
                if kept is not None and kept.shape == place.shape:
                    place.copy_(kept)
                self.writes.append(place.detach().clone())
        return result

    def _written(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
        found = []
        for position, argument in enumerate(schema(func).arguments):
            value = kwargs.get(argument.name, args[position] if position < len(args) else None)
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() in self.places:
                found.append(value)
        return found
