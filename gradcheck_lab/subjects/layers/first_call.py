"""The first call of a layer: where it fails since the object was not read right, the refusal shows how it may be meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.rules.methods import Methods
from gradcheck_lab.subjects.readings.layers import unprepared_layer, unread_layer
from gradcheck_lab.subjects.subject import Manual, Recording
from gradcheck_lab.subjects.unread import Unread

Record = Callable[[tuple[Any, ...], Mapping[str, Any]], Recording]


@dataclass(slots=True)
class FirstCall:
    """Shows how an object may be meant whose first call shows that it was not read right."""

    layer: Any
    methods: Methods
    inputs: tuple[Any, ...]
    options: dict[str, Any]
    done: bool = False

    def record(self, record: Record, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        """Run the forward; raises `InvalidArgument` where it raises in the first call and another method would have helped."""
        try:
            recording = record(inputs, options)
        except Exception as error:
            raise (None if self.done or isinstance(error, InvalidArgument) else self._unprepared(error)) or error from None
        self.done = True

        def backward(grad_outputs: tuple[torch.Tensor, ...]) -> Manual:
            try:
                return recording.backward(grad_outputs)
            except Unread as error:
                raise self.unread(error) from None

        return replace(recording, backward=backward)

    def unread(self, error: Unread) -> InvalidArgument:
        """The refusal with readings of the object where some of them run, and else as it was."""
        return unread_layer(error.problem, self.layer, self.inputs, self.options, self.methods, lost=error.lost) or error

    def _unprepared(self, error: Exception) -> InvalidArgument | None:
        raised = f"{type(self.layer).__name__}.{self.methods.forward} raises {class_and_line(error)}"
        problem = f"{raised} before another method was called"
        return unprepared_layer(problem, self.layer, self.inputs, self.options, self.methods.forward)
