"""What workers call in the tests."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import torch

from gradcheck_lab.model.exceptions import DeviceLost
from gradcheck_lab.workers.pool import Call, Workers
from gradcheck_lab.workers.progress import SharedProgress

_PR_SET_PDEATHSIG = 1


class Unpicklable(Exception):
    """An exception of the user that cannot be made again from its arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.held = lambda: second


class Acts:
    """What makes a folder in the process that unpickles it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


class ActsAsError(Acts, ValueError):
    """An exception that makes a folder in the process that unpickles it."""


def return_what_acts(folder: Path) -> list[Acts]:
    """Return what acts when it is unpickled."""
    return [Acts(folder)]


def raise_what_acts(folder: Path) -> NoReturn:
    """Raise what acts when it is unpickled."""
    raise ActsAsError(folder)


def own(name: str) -> Any:
    """The object of the class of this name that this process holds, as the user's code could find it."""
    return next(each for each in gc.get_objects() if type(each).__name__ == name)


def send_what_acts(folder: Path) -> None:
    """Send what acts where Pebble sends results, and wait for the end."""
    own("WorkerChannel").send(Acts(folder))
    time.sleep(600)


def send_what_acts_once(there: Path, folder: Path) -> None:
    """Return, and send what acts where Pebble sends results once there is a file."""

    def send() -> None:
        while not there.exists():
            time.sleep(0.01)
        own("WorkerChannel").send(Acts(folder))

    threading.Thread(target=send, daemon=True).start()


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


_is_lost = False
WAITS = "CUDA_LAUNCH_BLOCKING"


def device_answer(lose: bool, again: bool = True) -> list[Any]:
    """Use a device, which works no more once a call of this process lost it; what it says is the process, and if it waits.

    Unless it is lost `again`, waiting for each kernel keeps it.
    """
    global _is_lost
    _is_lost |= lose and (again or WAITS not in os.environ)
    if _is_lost:
        said = torch.AcceleratorError(f"CUDA error: {os.environ.get(WAITS)}")
        raise DeviceLost("the forward of the call", "forward") from said
    return [os.getpid(), os.environ.get(WAITS)]


def returning_device_answer(line: Any, lose: bool, again: bool = True) -> list[Any]:
    """The same, for a call apart, which says so first."""
    line.doing(f"waits: {os.environ.get(WAITS)}")
    return device_answer(lose, again)


if __name__ == "__main__":
    orphan_two(*sys.argv[1:])
