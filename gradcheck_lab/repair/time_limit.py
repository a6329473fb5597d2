"""A limit on the seconds of a block in this process: an edit may turn a loop into one that never ends."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gradcheck_lab.model.exceptions import Passing


class OutOfTime(Passing):
    """Raised within a block once its seconds are over."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """A block that `OutOfTime` is raised in once it ran for `seconds`, at the next line of Python that it reaches.

    A loop of Python ends so; a single operation of torch or NumPy runs until it is done.
    """
    thread, lock = threading.get_ident(), threading.Lock()
    over = fired = False

    def end() -> None:
        nonlocal fired
        with lock:
            if not over:
                fired = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(OutOfTime))

    timer = threading.Timer(max(0.0, seconds), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
        timer.cancel()
        for _ in range(1000 if fired else 0):
            pass  # an exception that has not arrived yet arrives in a loop
