"""Worker processes are started by spawn, and deaf to Ctrl-C from their first instruction on."""

from __future__ import annotations

import signal
from collections import deque
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any


class _Deaf(SpawnProcess):
    """A process that Ctrl-C in the terminal does not reach, which would print a traceback while it imports torch."""

    def start(self) -> None:
        if not hasattr(signal, "pthread_sigmask"):
            super().start()
            return
        resource_tracker.ensure_running()  # its first start would unblock the signal again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the new process inherits what is blocked
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class DeafContext(SpawnContext):
    """The `multiprocessing` context of spawn with such processes; it knows the last that it started."""

    def __init__(self) -> None:
        super().__init__()
        self._started: deque[_Deaf] = deque(maxlen=4)

    def Process(self, *arguments: Any, **keywords: Any) -> _Deaf:  # type: ignore[override]
        """Make a process."""
        process = _Deaf(*arguments, **keywords)
        self._started.append(process)
        return process

    def ended(self, pid: int) -> int | None:
        """The exit code of the process with this pid, negative for a signal; None while it lives or where it is not known."""
        return next((process.exitcode for process in self._started if process.pid == pid), None)
