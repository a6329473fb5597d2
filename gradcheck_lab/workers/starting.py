"""Worker processes are started by spawn, with the signal of Ctrl-C blocked from their first instruction on."""

from __future__ import annotations

import signal
from collections import deque
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any


class _UninterruptedProcess(SpawnProcess):
    """A process that ignores Ctrl-C in the terminal, which would make it print a traceback while it imports torch."""

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


class UninterruptedContext(SpawnContext):
    """The `multiprocessing` context of spawn whose processes ignore Ctrl-C; it remembers the last few that it started."""

    def __init__(self) -> None:
        super().__init__()
        self._started: deque[_UninterruptedProcess] = deque(maxlen=4)

    def Process(self, *arguments: Any, **keywords: Any) -> _UninterruptedProcess:  # type: ignore[override]
        """Make a process, which is not started yet."""
        process = _UninterruptedProcess(*arguments, **keywords)
        self._started.append(process)
        return process

    def exit_code(self, pid: int) -> int | None:
        """The exit code of the process with this pid, negative for a signal; None while it lives or where it is not known."""
        return next((process.exitcode for process in self._started if process.pid == pid), None)
