"""A subject whose code can neither end the process nor hand back what cannot be compared, with tensors of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch

from gradcheck_lab.calls.case import copy_tensor, is_differentiable
from gradcheck_lab.calls.devices import finished
from gradcheck_lab.calls.lost_device import refuse_lost_device
from gradcheck_lab.calls.process_state import set_default_device
from gradcheck_lab.calls.tensor_kinds import is_sparse, what_else
from gradcheck_lab.kernels.answers import ANSWERS
from gradcheck_lab.model.exceptions import Contained
from gradcheck_lab.model.limits import LARGE_ELEMENTS
from gradcheck_lab.model.shown import cut, one_line
from gradcheck_lab.model.watching import calling, refuse_without_memory
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.run_lines.watch import running
from gradcheck_lab.subjects.subject import Manual, Recording, Subject, Trace

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class NotComparable:
    """Stands for a gradient that is a tensor without numbers to compare: `what` it is, and what to return `instead`."""

    what: str
    instead: str


_empty = torch.empty  # whatever stands under that name while the user's code runs


class UsersCode(Contained):
    """A run of the user's code, after which the defaults that this package's own tensors are made by are as before.

    A process that the code forks, and does not end itself, ends with the run instead of going on as a second check. The code
    gets `values`, on whose devices it may have ended more than its own run.
    """

    __slots__ = ("depth", "device", "dtype", "end_answers", "process", "values")

    def __init__(self, values: Sequence[Any] = ()) -> None:
        self.values = values

    def __enter__(self) -> None:
        self.process, self.depth = os.getpid(), sys.getrecursionlimit()
        self.dtype, self.device = torch.get_default_dtype(), _empty(0).device  # torch.get_default_device takes longer
        self.end_answers = ANSWERS.begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if os.getpid() != self.process:  # a copy of this process, which the code forked and did not end
            os._exit(0)
        if self.end_answers is not None:
            self.end_answers()
        refuse_lost_device(error, self.values)  # before anything else is asked of the device
        if sys.getrecursionlimit() != self.depth:  # which Hypothesis sets as well, around each of its calls
            sys.setrecursionlimit(self.depth)
        if torch.get_default_dtype() != self.dtype:
            torch.set_default_dtype(self.dtype)
        if _empty(0).device != self.device:
            set_default_device(self.device)
        refuse_without_memory(error)
        super().__exit__(kind, error, trace)


def contained(subject: Subject) -> Subject:
    """The subject, with copies of the user's tensors as its inputs, and its code run where it cannot do harm.

    What would end the process is raised as an ordinary exception. A sparse gradient becomes a dense one, and a gradient of
    another kind that has no numbers to compare becomes `NotComparable`. Names are readable ones.
    """
    return replace(
        subject,
        name=cut(subject.name),
        names=tuple(map(one_line, subject.names)),
        labels=tuple(map(one_line, subject.labels)),
        inputs=tuple(_own_input(value) for value in subject.inputs),
        record=lambda inputs, options: _contained_recording(_guarded(subject.record, "forward")(inputs, options), inputs),
        trace=None if subject.trace is None else _guarded(subject.trace, "forward under autograd", is_watched=False),
        forward=_guarded(subject.forward, "forward"),
        connected=None if subject.connected is None else _guarded(subject.connected, "forward"),
        call_reference=None if subject.call_reference is None else _guarded(subject.call_reference, "reference", False, 1),
    )


def own_copy(value: Any) -> Any:
    """A copy of a plain tensor that requires grad where it does; other values as they are."""
    if not isinstance(value, torch.Tensor) or what_else(value) is not None:
        return value
    copied = copy_tensor(value)
    return copied.requires_grad_() if value.requires_grad else copied


def _own_input(value: Any) -> Any:
    """The same; but a large tensor that has a gradient shares its memory: all code of the user gets copies of it."""
    if is_differentiable(value) and value.numel() > LARGE_ELEMENTS.value and what_else(value) is None:
        return value.detach().requires_grad_(value.requires_grad)
    return own_copy(value)


def own_copies(value: Any) -> Any:
    """An option of a call with copies of the tensors and arrays in it, within lists, tuples and dicts too."""
    if isinstance(value, torch.Tensor):
        return own_copy(value)
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) is dict:
        return {key: own_copies(each) for key, each in value.items()}
    return type(value)(map(own_copies, value)) if type(value) in (list, tuple) else value


def _contained_recording(recording: Recording, inputs: tuple[Any, ...]) -> Recording:
    def backward(grad_outputs: tuple[torch.Tensor, ...]) -> Manual:
        calling("backward", inputs)
        with UsersCode(inputs), running("backward"):
            manual = recording.backward(grad_outputs)
            returned = manual.returned
            found = tuple(map(comparable, returned)) if isinstance(returned, (tuple, list)) else comparable(returned)
            # where a kernel fails that runs on while Python goes on, the error is the call's that launched it
            finished((*inputs, *as_tuple(found), *manual.intermediates.values()))
        return Manual(found, manual.intermediates, manual.stored)

    engine = None if recording.engine is None else _guarded(recording.engine, "backward")
    return replace(recording, backward=backward, engine=engine)


def comparable(value: Any) -> Any:
    """A gradient as it is, a sparse one as a dense one, and `NotComparable` for a tensor without numbers to compare."""
    if is_sparse(value):
        return value.detach().to_dense()
    other = what_else(value)
    return value if other is None else NotComparable(*other)


def _guarded(function: Callable[..., Value], stage: str, is_watched: bool = True, values: int = 0) -> Callable[..., Value]:
    """The function, run where it cannot do harm and waited for on every stream; argument `values` is what the code gets."""

    @wraps(function)
    def guarded(*arguments: Any) -> Value:
        calling(stage, arguments[values])
        with UsersCode(arguments[values]), running(stage) if is_watched else nullcontext():
            found = function(*arguments)
            finished((*arguments[values], *_results(found)))
            return found

    return guarded


def _results(found: Any) -> tuple[Any, ...]:
    """The tensors that a run of the user's code made, among other values."""
    if isinstance(found, (Recording, Trace)):
        return tuple(found.outputs)
    if isinstance(found, Manual):
        return (*as_tuple(found.returned), *found.intermediates.values())
    return as_tuple(found)
