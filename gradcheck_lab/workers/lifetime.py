"""A worker process ends when its parent does, however the parent ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_ORPHANED = 1


def end_with_parent() -> None:
    """Let this process end as soon as the process that started it has.

    Linux kills it, even while the user's code holds the interpreter's lock: see prctl(2), PR_SET_PDEATHSIG. It does so when
    the *thread* that started this process ends, so that thread has to live as long as the worker is needed. On every
    platform a thread of this process also waits for the parent to end.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:  # the parent ended before prctl was called
            os._exit(_ORPHANED)
    threading.Thread(target=_wait_for, args=(parent,), name="parent's end", daemon=True).start()


def _wait_for(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(_ORPHANED)
