"""A call of which the user said which inputs need a gradient: by `wrt=`, or by `requires_grad` on the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.arguments import Wrt, wanted_of
from gradcheck_lab.subjects.subject import Recording, Subject


def with_marks(subject: Subject, wrt: Wrt | None = None) -> Subject:
    """The subject with the inputs that need no gradient as constants.

    Those are the ones that `wrt` leaves out; where it is None, those that require no grad, where other inputs do require it.
    Parameters need one, unless `wrt` names some of them. Raises `InvalidArgument` for a `wrt` that does not fit.
    """
    floating = frozenset(i for i, v in enumerate(subject.inputs) if is_differentiable(v))
    own = floating - subject.parameters
    marked = frozenset(i for i in own if subject.inputs[i].requires_grad)
    constants = subject.constants | own - marked
    if wrt is not None:
        marked = wanted_of(wrt, subject.name, subject.names, floating)
        constants = (floating if marked & subject.parameters else own) - marked
    if not marked:
        return subject
    unsaid = subject.data if wrt is None else frozenset[int]()
    subject = replace(subject, declared=subject.declared | marked, data=unsaid)
    if constants == subject.constants:
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
