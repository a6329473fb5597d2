"""A call whose inputs say by `requires_grad` which of them need a gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.subjects.subject import Recording, Subject


def with_marks(subject: Subject) -> Subject:
    """The subject with the inputs that require no grad as constants, where other inputs do require it; parameters always do."""
    own = [i for i, v in enumerate(subject.inputs) if is_differentiable(v) and i not in subject.parameters]
    marked = {i for i in own if subject.inputs[i].requires_grad}
    constants = subject.constants | frozenset(own) - marked
    if not marked or constants == subject.constants:
        return subject

    def as_marked(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs, those that need a gradient marked again, unless a derived call has marks of its own."""
        if any(isinstance(v, torch.Tensor) and v.requires_grad for v in inputs):
            return inputs
        return tuple(
            v.detach().requires_grad_() if is_differentiable(v) and i not in constants else v for i, v in enumerate(inputs)
        )

    def record(inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        return subject.record(as_marked(inputs), options)

    def connected(inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        assert subject.connected is not None
        without = tuple(v.detach() if is_differentiable(v) and i in constants else v for i, v in enumerate(inputs))
        return subject.connected(without, options)

    engine = subject.called_by_engine or subject.connected is not None
    return replace(
        subject,
        constants=constants,
        record=record if engine else subject.record,
        connected=None if subject.connected is None else connected,
    )
