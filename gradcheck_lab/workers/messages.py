"""What worker processes send, as text of JSON: whoever reads it executes nothing of it.

A worker has run the user's code, which could have written to its pipe or its file itself. So what comes from there is data: it
is read whole as what it has to be, or refused. What is sent holds no tensors: reports are JSON-safe.
"""

from __future__ import annotations

import json
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.conversion import as_data, from_dict
from gradcheck_lab.model.user_errors import text_of
from gradcheck_lab.workers.outcome import Exited, LostDevice, MemoryExceeded, Outcome, Raised, Returned, Unreadable

_SENT: dict[str, Any] = {kind.__name__: kind for kind in (Returned, Raised, Exited, MemoryExceeded, LostDevice)}


class NoMessage(ValueError):
    """What was sent cannot be read; the message says what it is instead."""


def pack(value: Any) -> bytes:
    """Dataclasses, containers and plain values as JSON. Raises `TypeError` or `ValueError` for anything else."""
    return json.dumps(as_data(value)).encode("ascii")


def unpack(data: Any) -> Any:
    """The containers and plain values that `pack` wrote, a dataclass as its fields. Raises `NoMessage` for anything else."""
    if not isinstance(data, bytes):
        raise NoMessage("no bytes")
    try:
        return json.loads(data.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise NoMessage("bytes that are no JSON") from error


def pack_outcome(outcome: Outcome) -> bytes:
    """The outcome of a call as JSON. Of one that is no data, the exception that says so is the outcome."""
    try:
        return pack([type(outcome).__name__, outcome.value if isinstance(outcome, Returned) else outcome])
    except Exception as error:
        return pack([Raised.__name__, Raised(type(error).__name__, text_of(error), "")])


def unpack_outcome(data: Any) -> Outcome:
    """The outcome that `pack_outcome` wrote, `Unreadable` for anything else; what was returned is data: see `read_as`."""
    try:
        found = unpack(data)
        if not (isinstance(found, list) and len(found) == 2 and isinstance(found[0], str) and found[0] in _SENT):
            return Unreadable("JSON that is no outcome of a call")
        if found[0] == Returned.__name__:  # of nearly all calls: what its value has to be, `read_as` says
            return Returned(found[1])
        outcome: Outcome = from_dict(found[1], _SENT[found[0]], "the outcome")
    except (NoMessage, InvalidArgument) as error:
        return Unreadable(str(error))
    return outcome


def read_as(outcome: Outcome, kind: type[Any]) -> Outcome:
    """The outcome with what was returned as a dataclass of this kind, `Unreadable` where it is none."""
    if not isinstance(outcome, Returned):
        return outcome
    try:
        return Returned(from_dict(outcome.value, kind, "the result"))
    except InvalidArgument as error:
        return Unreadable(str(error))
