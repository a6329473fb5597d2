"""What workers call in the tests."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from gradcheck_lab.workers.pool import Call, Workers
from gradcheck_lab.workers.progress import SharedProgress

_PR_SET_PDEATHSIG = 1


class Unpicklable(Exception):
    """An exception of the user that cannot be made again from its arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.held = lambda: second


def nothing() -> None:
    """Prepare nothing."""


def raise_unpicklable() -> NoReturn:
    """Raise what cannot cross processes."""
    raise Unpicklable("no", "way")


def unpicklable_result() -> object:
    """Return what cannot cross processes."""
    return lambda: None


def segfault() -> None:
    """Read from address 0."""
    ctypes.string_at(0)


def write_then_abort(board_at: int) -> None:
    """Write on the board of this worker, and die."""
    assert _board is not None
    _board.count(board_at, 7, 8)
    _board.write(board_at, "here")
    os.abort()


_board: SharedProgress | None = None


def keep(board: SharedProgress) -> None:
    """Prepare a worker that has a board."""
    global _board
    _board = board


def say_pid_and_sleep(folder: str) -> None:
    """Leave a file named after this process, and sleep as Python does: other threads run."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def say_pid_and_hold(folder: str) -> None:
    """Leave a file named after this process, and sleep in C with the interpreter's lock: no other thread runs."""
    (Path(folder) / str(os.getpid())).touch()
    ctypes.PyDLL(None).sleep(600)


def without_signal() -> None:
    """Prepare a worker as on a system where the kernel does not end it with its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0)


def orphan_two(prepare: str, sleep: str, folder: str) -> None:
    """Start two workers that sleep, and be killed once both do."""
    with Workers(2, globals()[prepare]) as workers:
        for key in range(2):
            workers.submit(Call(key, globals()[sleep], (folder,)))
        while len(os.listdir(folder)) < 2:
            workers.finished(0.1)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    orphan_two(*sys.argv[1:])
