"""One call in a process of its own, started for it: by fork where that is safe, so that a call on anything can be made."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Literal

import torch

from gradcheck_lab.calls.devices import accelerator
from gradcheck_lab.calls.process_state import set_filters
from gradcheck_lab.calls.randomness import TURNS
from gradcheck_lab.workers.lifetime import end_group_with, end_with_parent
from gradcheck_lab.workers.memory import memory_limited
from gradcheck_lab.workers.messages import NoMessage, pack, pack_outcome, unpack, unpack_outcome
from gradcheck_lab.workers.outcome import Died, LostDevice, MemoryExceeded, Outcome, TimedOut, Unreadable, outcome_of
from gradcheck_lab.workers.progress import SharedProgress
from gradcheck_lab.workers.starting import import_slow, launches_waited_for

_EVERY = 0.05  # seconds between two looks at the process
_KIND = 1  # bytes in front of a message that say which it is
_STARTED, _KNOWN, _DONE = b"s", b"k", b"d"
Function = Callable[["Line"], Any]
Looked = Callable[[str, tuple[int, ...]], None]  # takes what is done, and the steps, the number and what was found


@dataclass(frozen=True, slots=True)
class Limits:
    """The seconds that a call may take, and the bytes of memory beside those that its process starts with; None: any."""

    seconds: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """What a call in another process can tell the one that waits for it, and what is known there should it end early."""

    progress: SharedProgress
    connection: Connection

    def doing(self, text: str) -> bool:
        """Replace the text that stands for what is done next; False where there is no room for it."""
        return self.progress.write(0, text)

    def began(self) -> None:
        """Count a step. The time that a call may take is that of one step."""
        steps, *kept = self.progress.counts(0)
        self.progress.count(0, steps + 1, *kept)

    def count(self, number: int, found: int = 0) -> None:
        """Keep a number, and how many of something were found, for the one that waits."""
        self.progress.count(0, self.progress.counts(0)[0], number, found)

    def known(self, value: Any) -> None:
        """Send what is known so far; what is no data is not sent."""
        with suppress(Exception):
            self.connection.send_bytes(_KNOWN + pack(value))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended, the last text of what it did, the number that it kept, and what was known last, None for nothing.

    What it returned and what was known are data: see `messages.read_as`.
    """

    outcome: Outcome
    doing: str
    count: int
    known: Any


class CannotStart(Exception):
    """The call cannot be made in another process; the message says why."""


def run_apart(function: Function, limits: Limits, looked: Looked = lambda text, counts: None) -> Ended:
    """Call `function(line)` in a process of its own, and wait for its end, looking from time to time. Raises `CannotStart`.

    A call that ends the context of its device is made once again in a process where each kernel is waited for.
    """
    ended = _run_once(function, limits, looked)
    if not isinstance(ended.outcome, LostDevice):
        return ended
    with launches_waited_for():
        again = _run_once(function, limits, looked)
    outcome = replace(ended.outcome, doing=ended.doing).again(again.outcome, again.doing)
    return replace(again if isinstance(again.outcome, LostDevice) else ended, outcome=outcome)


def _run_once(function: Function, limits: Limits, looked: Looked) -> Ended:
    danger = danger_of_fork()
    forked = danger == "none" or (danger == "threads" and not can_be_sent(function))
    if forked:
        import_slow()
    sent = _Copied(function) if danger == "accelerator" else function
    return _run(multiprocessing.get_context("fork" if forked else "spawn"), sent, limits, looked)


@dataclass(frozen=True, slots=True)
class _Copied:
    """A function that is sent with copies of its tensors, since few kinds of device can share their memory with a process."""

    function: Function

    def __call__(self, line: Line) -> Any:
        return self.function(line)

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (pickle.dumps(self.function),)


def danger_of_fork() -> Literal["none", "threads", "accelerator", "system"]:
    """What may go wrong in a process that is forked now.

    Other threads may hold a lock, which is then never released; an accelerator's driver, and autograd's threads for it, do not
    work in a forked process; and the libraries of other systems than Linux use threads of their own.
    """
    if sys.platform != "linux":
        return "system"
    if accelerator() is not None:
        return "accelerator"
    return "none" if threading.active_count() == 1 else "threads"


def can_be_sent(function: Function) -> bool:
    """Whether a function, with what it holds, can be pickled."""
    try:
        pickle.dumps(function)
    except Exception:
        return False
    return True


def _run(context: BaseContext, function: Function, limits: Limits, looked: Looked) -> Ended:
    receiver, sender = context.Pipe(duplex=False)
    progress, lifeline = SharedProgress(1, numbers=3), context.Pipe(duplex=False)
    process: BaseProcess = context.Process(  # type: ignore[attr-defined]
        target=_call, args=(function, Line(progress, sender), limits, lifeline, list(warnings.filters)), daemon=False
    )
    try:
        with quiet_fork():
            process.start()
    except Exception as error:
        raise CannotStart(f"{type(error).__name__}: {error}") from error
    try:
        sender.close()
        lifeline[0].close()
        return _wait(process, receiver, progress, limits, looked)
    finally:
        end_process(process)
        receiver.close()
        lifeline[1].close()


@contextmanager
def quiet_fork() -> Iterator[None]:
    """While no other thread checks, and without Python's warning of threads, which those that torch computes with are too."""
    with TURNS, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _wait(process: BaseProcess, receiver: Connection, progress: SharedProgress, limits: Limits, looked: Looked) -> Ended:
    known, steps, started = b"", 0, False
    since = time.monotonic()

    def ended(outcome: Outcome) -> Ended:
        return Ended(outcome, progress.text(0), progress.counts(0)[1], _unpacked(known))

    while True:
        code = process.exitcode  # asked first, so that what was sent before the end is still read
        while receiver.poll(0 if code is not None else _EVERY):
            try:
                data = receiver.recv_bytes()
            except (EOFError, OSError):  # its end is closed, and it is about to end
                time.sleep(_EVERY)
                break
            kind, rest = data[:_KIND], data[_KIND:]
            if kind == _DONE:
                outcome = unpack_outcome(rest)
                return ended(replace(outcome, limit=limits.memory) if isinstance(outcome, MemoryExceeded) else outcome)
            if kind == _STARTED:
                started, since = True, time.monotonic()
            elif kind == _KNOWN:
                known = rest
            else:
                return ended(Unreadable("bytes that are no message"))
        if code is not None:
            if not started:
                raise CannotStart(f"the new process ended with exit code {code} before the call")
            return ended(Died(code))
        looked(progress.text(0), progress.counts(0))
        if progress.counts(0)[0] != steps:
            steps, since = progress.counts(0)[0], time.monotonic()
        if started and limits.seconds is not None and time.monotonic() - since > limits.seconds:
            return ended(TimedOut(limits.seconds))


def _unpacked(known: bytes) -> Any:
    try:
        return unpack(known)
    except NoMessage:  # nothing was sent, or not by this package
        return None


def end_process(process: BaseProcess) -> None:
    """End the process with all that it started."""
    if process.pid is not None and hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _call(
    function: Function, line: Line, limits: Limits, lifeline: tuple[Connection, Connection], filters: list[Any]
) -> None:
    lifeline[1].close()
    end_group_with(lifeline[0], line.connection)
    end_with_parent()
    set_filters(filters)
    torch.set_num_threads(1)  # the threads of the parent's pool are not here
    line.connection.send_bytes(_STARTED)

    def limited() -> Any:
        with memory_limited(limits.memory):
            return function(line)

    line.connection.send_bytes(_DONE + pack_outcome(outcome_of(limited)))
