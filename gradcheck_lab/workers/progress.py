"""Counts and a text for each task, in memory that processes share without locks."""

from __future__ import annotations

from ctypes import c_char, c_int64
from multiprocessing.sharedctypes import RawArray
from typing import Any

_CAPACITY = 16_384  # bytes of a text: a call of ten small tensors by value


class SharedProgress:
    """The progress of `tasks` tasks, `numbers` counts and a text each. One process writes those of a task; the parent reads.

    No lock is held while anything is written, so that the memory stays readable when a process dies. A worker gets it as an
    argument of `prepare`, since shared memory cannot be pickled as an argument of a call.
    """

    def __init__(self, tasks: int, numbers: int) -> None:
        self._numbers = numbers
        self._counts: Any = RawArray(c_int64, tasks * numbers)
        self._lengths: Any = RawArray(c_int64, tasks)
        self._texts: Any = RawArray(c_char, tasks * _CAPACITY)
        self._stopped: Any = RawArray(c_int64, 1)

    def count(self, task: int, *values: int) -> None:
        """Write the numbers of a task."""
        start = task * self._numbers
        self._counts[start : start + self._numbers] = values

    def counts(self, task: int) -> tuple[int, ...]:
        """The numbers of a task, 0 at first."""
        start = task * self._numbers
        return tuple(self._counts[start : start + self._numbers])

    def write(self, task: int, text: str) -> bool:
        """Replace the text of a task. Returns False, and leaves the task without a text, where it is too long."""
        data = text.encode()
        self._lengths[task] = 0  # a process that dies while it writes leaves no text
        if len(data) > _CAPACITY:
            return False
        start = task * _CAPACITY
        self._texts[start : start + len(data)] = data
        self._lengths[task] = len(data)
        return True

    def text(self, task: int) -> str:
        """The text of a task, empty where there is none."""
        start = task * _CAPACITY
        return bytes(self._texts[start : start + self._lengths[task]]).decode(errors="replace")

    def stop(self) -> None:
        """Ask all tasks to end."""
        self._stopped[0] = 1

    @property
    def stopped(self) -> bool:
        """Whether the tasks were asked to end."""
        return bool(self._stopped[0])
