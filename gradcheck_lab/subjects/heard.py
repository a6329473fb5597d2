"""What the backward of a subject returns in each call, told to whoever listens: `mutation` compares two checks by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gradcheck_lab.calls.case import copy_inputs
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.subject import Manual, Recording, Subject

# takes the inputs, the options, the upstream gradients, and what the backward returned, None where it raised
Listener = Callable[[tuple[Any, ...], Mapping[str, Any], tuple[Any, ...], tuple[Any, ...] | None], None]

listeners: list[Listener] = []  # empty but in a block of `mutation`


def heard(subject: Subject) -> Subject:
    """The subject itself where nobody listens; else one that tells what each of its backwards returns."""
    if not listeners:
        return subject

    def record(inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        given = copy_inputs(inputs)
        recording = subject.record(inputs, options)

        def backward(grad_outputs: tuple[Any, ...]) -> Manual:
            upstream = copy_inputs(grad_outputs)
            try:
                manual = recording.backward(grad_outputs)
            except Exception:
                _tell(given, options, upstream, None)
                raise
            _tell(given, options, upstream, as_tuple(manual.returned))
            return manual

        return replace(recording, backward=backward)

    return replace(subject, record=record)


def _tell(
    inputs: tuple[Any, ...], options: Mapping[str, Any], upstream: tuple[Any, ...], returned: tuple[Any, ...] | None
) -> None:
    for listener in listeners:
        listener(inputs, options, upstream, None if returned is None else copy_inputs(returned))
