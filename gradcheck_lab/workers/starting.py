"""How worker processes are started: with the signal of Ctrl-C blocked from their first instruction on.

On Linux they are forked by a server that has imported torch and this package once, and nothing of the user's: a worker that
replaces one that died starts in milliseconds. Elsewhere each imports them anew.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import connection, resource_tracker
from multiprocessing.context import BaseContext, SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any

from gradcheck_lab.workers.envelope import Receiver

Process: type[BaseProcess] = SpawnProcess
Context: type[BaseContext] = SpawnContext
if sys.platform == "linux":
    from multiprocessing import forkserver
    from multiprocessing.context import ForkServerContext, ForkServerProcess

    Process, Context = ForkServerProcess, ForkServerContext
# torch imports its symbolic shapes, and SymPy with them, in the first check; it takes as long as all the rest
_SLOW = ("torch.fx.experimental.symbolic_shapes", "torch._subclasses.schema_check_mode")
# read by the runtime before it starts: CUDA programming guide, asynchronous concurrent execution; HIP's environment variables
_WAITING = {"CUDA_LAUNCH_BLOCKING": "1", "AMD_SERIALIZE_KERNEL": "3"}
_ASKING = threading.Lock()
_PRELOADED = ("gradcheck_lab.check", "gradcheck_lab.fuzzing.run", "gradcheck_lab.fuzzing.search", *_SLOW)


def import_slow() -> None:
    """Import here what each process that is forked from this one would import again."""
    for name in _SLOW:
        with suppress(ImportError):
            import_module(name)


@contextmanager
def launches_waited_for() -> Iterator[None]:
    """Let processes that start in this block wait for each kernel where it is launched, as one that is forked here does."""
    before = {name: os.environ.get(name) for name in _WAITING}
    wait_for_launches()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def wait_for_launches() -> None:
    """Let this process, which has used no accelerator yet, wait for each kernel where it is launched."""
    os.environ.update(_WAITING)


def start_server() -> None:
    """Start the server now, so that it imports while this process does something else."""
    if sys.platform == "linux":
        resource_tracker.ensure_running()
        multiprocessing.set_forkserver_preload(list(_PRELOADED))
        with _interrupts_blocked():
            forkserver.ensure_running()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block the signal of Ctrl-C here, which a process that is started meanwhile inherits."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _UninterruptedProcess(Process):  # type: ignore[misc, valid-type]
    """A process that ignores Ctrl-C in the terminal, which would make it print a traceback while it imports torch.

    Several threads may ask how it ended. A fork server says that once, so that of two that read it together one would find
    nothing there and keep the exit code 255: they take turns.
    """

    def start(self) -> None:
        resource_tracker.ensure_running()  # its first start would unblock the signal again
        with _interrupts_blocked():
            super().start()

    @property
    def exitcode(self) -> int | None:
        with _ASKING:
            code: int | None = super().exitcode
            return code

    def is_alive(self) -> bool:
        with _ASKING:
            return bool(super().is_alive())

    def join(self, timeout: float | None = None) -> None:
        connection.wait([self.sentinel], timeout)
        with _ASKING:
            super().join(0)


class UninterruptedContext(Context):  # type: ignore[misc, valid-type]
    """The `multiprocessing` context whose processes ignore Ctrl-C; it remembers the last few that it started."""

    def __init__(self) -> None:
        super().__init__()
        self._started: deque[BaseProcess] = deque(maxlen=4)
        start_server()

    def Process(self, *arguments: Any, **keywords: Any) -> BaseProcess:
        """Make a process, which is not started yet."""
        process: BaseProcess = _UninterruptedProcess(*arguments, **keywords)
        self._started.append(process)
        return process

    def Pipe(self, duplex: bool = True) -> Any:
        """Make a pipe, of which this process reads nothing but Pebble's messages around plain data."""
        receiver, sender = super().Pipe(duplex)
        return Receiver(receiver), sender

    def exit_code(self, pid: int) -> int | None:
        """The exit code of the process with this pid, negative for a signal; None while it lives or where it is not known."""
        return next((process.exitcode for process in self._started if process.pid == pid), None)
