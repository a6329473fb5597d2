"""Record what a module writes to its buffers under no_grad in one run, and write the same values in later runs.

Autograd treats such values as constants, for example the vectors of spectral normalisation's power iteration. A numeric
derivative has to hold them constant too, so every evaluation gets the values of the first run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gradcheck_lab.torch_internals import DispatchMode, schema

Writes = list[torch.Tensor]


class BufferWrites(DispatchMode):
    """A dispatch mode that records every value written to `buffers` under no_grad; values of `replay` replace them."""

    def __init__(self, buffers: Mapping[str, torch.Tensor], replay: Writes | None = None) -> None:
        super().__init__()
        self.storages = {value.untyped_storage().data_ptr() for value in buffers.values()} - {0}
        self.writes: Writes = []
        self.replay = iter(replay or ())

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        if schema(func).is_mutable and not torch.is_grad_enabled():
            for buffer in self._written(func, args, kwargs):
                replayed = next(self.replay, None)
                if replayed is not None and replayed.shape == buffer.shape:
                    buffer.copy_(replayed)
                self.writes.append(buffer.detach().clone())
        return result

    def _written(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
        found = []
        for position, argument in enumerate(schema(func).arguments):
            value = kwargs.get(argument.name, args[position] if position < len(args) else None)
            written = argument.alias_info is not None and argument.alias_info.is_write
            if written and isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() in self.storages:
                found.append(value)
        return found
