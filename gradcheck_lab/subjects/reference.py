"""A subject whose oracle is the user's `reference=`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.exceptions import Contained
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.subject import Subject, Trace


def with_reference(subject: Subject, reference: Any) -> Subject:
    """The subject with the user's `reference` as its oracle. Raises `InvalidArgument` where that cannot be called."""
    if not callable(reference):
        raise InvalidArgument(
            f"reference is a {type(reference).__name__}; pass the same function written with torch's own functions"
        )

    def trace(inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        with Contained():
            if subject.call_reference is not None:
                return Trace(subject.call_reference(reference, inputs, options))
            return Trace(as_tuple(reference(*inputs, **options)))

    return replace(subject, trace=trace, own_trace=subject.trace, oracle="autograd of the reference", reference=reference)
