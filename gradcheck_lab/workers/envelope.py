"""The parent's end of Pebble's pipe, which takes Pebble's own messages around plain data and nothing else.

Pebble asks the `multiprocessing` context for its pipes, and reads with `recv`, which unpickles what the other process wrote.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from multiprocessing.connection import Connection
from typing import Any

from gradcheck_lab.model.shown import cut


class NotOurs(OSError):
    """A worker sent what is no message of Pebble; an `OSError`, at which Pebble gives the pipe up as broken."""


class Receiver:
    """The reading end of a pipe. It restricts what is read in this process alone: sent to another, it is as it was before."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __reduce__(self) -> tuple[Callable[[Connection], Connection], tuple[Connection]]:
        return _itself, (self._connection,)

    def recv(self) -> Any:
        """The next message. Raises `NotOurs` for what is none, `EOFError` and `OSError` as a connection does."""
        data = self._connection.recv_bytes()
        try:
            return _Messages(io.BytesIO(data)).load()
        except Exception as error:
            raise NotOurs(str(error) if isinstance(error, _Named) else "bytes that are no pickle") from error

    def fileno(self) -> int:
        """The descriptor of the pipe, to wait for."""
        return self._connection.fileno()

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Whether there is something to read, within so many seconds; None waits for it."""
        return self._connection.poll(timeout)

    def close(self) -> None:
        """Close this end."""
        self._connection.close()


def _itself(connection: Connection) -> Connection:
    return connection


class _Named(pickle.UnpicklingError):
    pass


class _Messages(pickle.Unpickler):
    """Reads plain data, and of classes none but the dataclasses and enumerations that Pebble has loaded.

    Those are given as classes made for this message, so that one that sets attributes of a class changes no other.
    """

    def find_class(self, module: str, name: str) -> Any:
        """The class of a message. Raises `pickle.UnpicklingError` for any other name; nothing is imported."""
        found = vars(sys.modules.get(module, object)).get(name) if module.partition(".")[0] == "pebble" else None
        if isinstance(found, type) and found.__module__ == module:
            if issubclass(found, Enum):
                return lambda value: found(value)
            if is_dataclass(found):
                return type(name, (found,), {})
        raise _Named(f"a pickle that names {cut(f'{module}.{name}')}")
