"""Functions on variables of a NumPy framework, as layers with a forward and a backward on arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class OnArrays:
    """A function of `variable`s: forward runs it on arrays, and backward the framework's own backward."""

    def __init__(self, function: Callable[..., Any], variable: Callable[[Any], Any]) -> None:
        self.function, self.variable = function, variable

    def forward(self, *arrays: Any) -> Any:
        self.inputs = [self.variable(array) for array in arrays]
        self.output = self.function(*self.inputs)
        return self.output.data

    def backward(self, grad_output: Any) -> tuple[Any, ...]:
        if self.output.creator is None:  # the function handed its input on
            return tuple(np.asarray(grad_output) if value is self.output else None for value in self.inputs)
        for value in self.inputs:
            value.grad = None
        self.output.grad = self.variable(np.asarray(grad_output))
        self.output.backward()
        return tuple(getattr(each.grad, "data", None) if hasattr(each.grad, "creator") else each.grad for each in self.inputs)
