"""Whether the gradients that a layer stores add up by design: they are stored on tensors, or the layer has a reset for them."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gradcheck_lab.rules.methods import Methods
from gradcheck_lab.subjects.layers.code import own_methods, writes_of
from gradcheck_lab.subjects.layers.parameters import Parameter
from gradcheck_lab.subjects.layers.paths import ObjectPath, is_array, owners

# methods that take arguments are not tried: their names have to say it
_NAMED = re.compile(r"(zero|clear|reset|flush|clean)\w*grad|grad\w*(zero|clear|reset|flush)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Resets:
    """Looks for methods that set the gradients of `layer`'s parameters to zero or None, whatever they are called."""

    layer: Any
    methods: Methods
    inputs: int
    parameters: Sequence[Parameter]

    def adds_up(self, index: int) -> bool:
        """Whether the gradient of an input, by index, accumulates by design."""
        if index < self.inputs:
            return False
        parameter = self.parameters[index - self.inputs]
        if any(is_array(path.owner(self.layer)) for path in parameter.gradients if path.find(self.layer) is not None):
            return True
        if any(_NAMED.search(name) for _, owner in owners(self.layer) for name in own_methods(owner) if not _takes_nothing(
                getattr(owner, name, None))):  # fmt: skip
            return True
        return any(self._clears(path, name, parameter) for path, name in self._candidates(parameter))

    def _candidates(self, parameter: Parameter) -> Iterator[tuple[ObjectPath, str]]:
        """Methods without arguments, on any object of the layer, that write to the gradient or call one that may."""
        words = {step.key for path in parameter.gradients for step in path.steps if isinstance(step.key, str)}
        for path, owner in owners(self.layer):
            written = writes_of(owner, (self.methods.forward, self.methods.backward))
            for name, accesses in written.items():
                if (words & accesses or _NAMED.search(name)) and _takes_nothing(getattr(owner, name, None)):
                    yield path, name

    def _clears(self, owner: ObjectPath, method: str, parameter: Parameter) -> bool:
        """Whether the method sets the gradient to zero or None, tried on a copy whose gradient is ones."""
        try:
            layer = copy.deepcopy(self.layer)
            held = [path for path in parameter.gradients if path.find(layer) is not None or path.owner(layer) is not None]
            others = [(p.gradients[0], p.value) for p in self.parameters if p is not parameter and p.gradients]
            for place, value in (*others, *((place, parameter.value) for place in held[:1])):
                if place.owner(layer) is not None:  # a reset in a loop needs the gradients of all parameters
                    place.set(layer, _ones(value))
            getattr(owner.get(layer), method)()
            left = [path.find(layer) for path in held[:1]]
        except Exception:  # it is no reset, or needs more than a copy of the layer
            return False
        return bool(left) and all(value is None or (is_array(value) and not bool(value.any())) for value in left)


def _takes_nothing(method: Any) -> bool:
    try:
        needed = [p for p in inspect.signature(method).parameters.values() if p.default is p.empty]
    except (TypeError, ValueError):
        return False
    return not [p for p in needed if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _ones(value: Any) -> Any:
    return torch.ones_like(value) if isinstance(value, torch.Tensor) else np.ones_like(value)
