"""A worker process ends when its parent does, however the parent ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_ORPHANED = 1


def end_with_parent() -> None:
    """Let this process end as soon as the process that started it has.

    Linux kills it, even while the user's code holds the interpreter's lock: see prctl(2), PR_SET_PDEATHSIG. It does so when
    the *thread* that started this process ends, so that thread has to live as long as the worker is needed. A process of a
    fork server is started by that, which itself ends with its parent. On every platform a thread of this process also waits
    for the parent to end.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        _leave_fork_server()
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if not parent.is_alive():  # it ended before prctl was called
            os._exit(_ORPHANED)
    threading.Thread(target=_wait_for, args=(parent,), name="parent's end", daemon=True).start()


def _leave_fork_server() -> None:
    """Close what `multiprocessing` hands each process of its fork server, and keeps that server alive without its parent."""
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    held = getattr(server, "_forkserver_alive_fd", None)
    if server is not None and held is not None:
        os.close(held)
        server._forkserver_alive_fd = server._forkserver_pid = None


def _wait_for(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(_ORPHANED)


def end_group_with(lifeline: Connection, *others: Connection) -> None:
    """Put this process in a group of its own, which ends with the process that holds the other end of `lifeline`.

    So do the processes that the user's code starts. A process beside this one waits for it, since a killed process cannot end
    its own; it keeps none of the `others` open.
    """
    if not hasattr(os, "fork"):
        return
    os.setpgid(0, 0)
    if os.fork():
        lifeline.close()
        return
    try:
        for other in others:
            other.close()
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
        with suppress(EOFError, OSError):
            lifeline.recv_bytes()
    finally:
        os.killpg(0, signal.SIGKILL)
