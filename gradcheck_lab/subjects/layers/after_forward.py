"""A layer between its forward and its backward, and the same with other numbers in what the forward kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gradcheck_lab.subjects.layers.numpy_boundary import ARRAY, from_native, to_native
from gradcheck_lab.subjects.layers.parameters import Parameter
from gradcheck_lab.subjects.layers.paths import arrays


@dataclass(frozen=True, slots=True)
class AfterForward:
    """A copy of a layer after its forward, what that returned, and what it was given, in the layer's own form."""

    layer: Any
    output: Any
    given: list[Any]

    def changed(self, change: Callable[[torch.Tensor], torch.Tensor], parameters: Sequence[Parameter]) -> AfterForward:
        """A copy with changed arrays in the place of all that the layer holds but its parameters."""
        fixed = {id(p.path.find(self.layer)) for p in parameters}
        held = {id(v): from_native(v) for _, v in arrays(self.layer) if isinstance(v, np.ndarray) and id(v) not in fixed}
        memo: dict[int, Any] = {k: to_native(change(v), ARRAY) for k, v in held.items() if isinstance(v, torch.Tensor)}
        return AfterForward(*copy.deepcopy((self.layer, self.output, self.given), memo))
