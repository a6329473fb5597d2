"""One copy of a layer that lives through several calls, as the user's object does, so that what a call leaves is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gradcheck_lab.subjects.layers.parameters import Parameter
from gradcheck_lab.subjects.layers.paths import is_array


@dataclass(slots=True)
class LiveCopy:
    """Within `alive()`, every call gets the same copy of the layer, with new values written into its parameters."""

    wanted: bool = False
    layer: Any = None

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Within the block, calls do not get a copy each, so each call finds what the last one left."""
        self.wanted = True
        try:
            yield
        finally:
            self.wanted, self.layer = False, None

    def get(self, make: Callable[[], Any], parameters: Sequence[Parameter], values: Sequence[Any]) -> Any:
        """The layer for a call: what `make` returns, or within `alive()` the copy of the first call with these values."""
        if not self.wanted:
            return make()
        if self.layer is None:
            self.layer = make()
            return self.layer
        for parameter, value in zip(parameters, values, strict=True):
            held = parameter.path.find(self.layer)
            if not is_array(held) or not is_array(value) or held.shape != value.shape:
                parameter.path.set(self.layer, value)
            elif isinstance(held, torch.Tensor):
                held.detach().copy_(value)
            elif not np.array_equal(held, value, equal_nan=True):
                held[...] = value
        return self.layer
