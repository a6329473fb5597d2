"""Calls in worker processes; each ends as an `Outcome` of its own, whatever becomes of its process.

The processes are Pebble's, which kills the one whose call takes too long and replaces one that died. Each worker is a Pebble
pool of one process, so that what died is known from which pool it was in, and no lock or pipe is shared between workers:
Pebble's pool of many gives up as a whole where a process dies before it said which call it took.
"""

from __future__ import annotations

import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawArray
from types import TracebackType
from typing import Any, Self

from pebble import ProcessExpired, ProcessPool

from gradcheck_lab.workers.lifetime import end_with_parent
from gradcheck_lab.workers.outcome import Died, Outcome, Raised, TimedOut, outcome_of
from gradcheck_lab.workers.starting import DeafContext

Key = int

_GRACE = 1.0  # seconds that Pebble, which looks every 0.1 s, gets to notice a death before it is taken for an exit with 0
_NOT_BEGUN, _DONE = 0, -1  # in the place of a pid
_own_pid: Any = None  # in a worker: where it says that it is at a call


@dataclass(frozen=True, slots=True)
class Call:
    """A function of a module, with arguments that can be pickled, and the seconds that it may take, None for any."""

    key: Key
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    timeout: float | None = None


@dataclass(slots=True)
class _Slot:
    """One worker and the call that it is at; `pid` is its process while it is at one, `gone` since when that has ended."""

    pid: Any = field(default_factory=lambda: RawArray("q", 1))
    pool: ProcessPool | None = None
    context: DeafContext = field(default_factory=DeafContext)
    call: Call | None = None
    future: Future[bytes] | None = None
    gone: float | None = None


class Workers:
    """`count` processes that make calls; to be used as a context, from one thread.

    `prepare(*arguments)` runs first in each. After `recycled_after` calls a process is replaced by a new one, 0 for never.
    None of them outlives this process, and at the end of the context all are ended.
    """

    def __init__(
        self, count: int, prepare: Callable[..., None], arguments: Sequence[Any] = (), recycled_after: int = 0
    ) -> None:
        self._prepare = prepare
        self._arguments = tuple(arguments)
        self._recycled_after = recycled_after
        self._slots = [_Slot() for _ in range(count)]
        self._waiting: deque[Call] = deque()
        self._ended: list[ProcessPool] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for slot in self._slots:
            self._end(slot)
        for pool in self._ended:
            pool.join()

    @property
    def pending(self) -> bool:
        """Whether a call is still to end."""
        return bool(self._waiting) or any(slot.call for slot in self._slots)

    def submit(self, call: Call) -> None:
        """Make a call as soon as a worker is free."""
        self._waiting.append(call)
        self._fill()

    def withdraw(self) -> None:
        """Forget the calls that no worker is at, also where it is only being started."""
        self._waiting.clear()
        for slot in self._slots:
            if slot.call is not None and slot.pid[0] == _NOT_BEGUN:
                self._end(slot)
                slot.call = slot.future = None

    def finished(self, within: float) -> list[tuple[Key, Outcome]]:
        """The calls that ended since the last time, with their outcomes; waits at most `within` seconds for the first."""
        futures = [slot.future for slot in self._slots if slot.future is not None]
        if futures:
            wait(futures, timeout=within, return_when=FIRST_COMPLETED)
        found = []
        for slot in self._slots:
            outcome = self._outcome(slot)
            if outcome is not None and slot.call is not None:
                found.append((slot.call.key, outcome))
                slot.call = slot.future = None
        self._fill()
        return found

    def _fill(self) -> None:
        for slot in self._slots:
            if slot.call is None and self._waiting:
                self._start(slot, self._waiting.popleft())

    def _start(self, slot: _Slot, call: Call) -> None:
        slot.call, slot.gone = call, None
        slot.pid[0] = _NOT_BEGUN
        if slot.pool is None:
            slot.pool = ProcessPool(
                1, self._recycled_after, _begin, (slot.pid, self._prepare, self._arguments), context=slot.context
            )  # fmt: skip
        slot.future = slot.pool.schedule(_make, (call.function, call.arguments), timeout=call.timeout)

    def _outcome(self, slot: _Slot) -> Outcome | None:
        if slot.future is None or slot.call is None:
            return None
        if not slot.future.done():
            return self._of_silent(slot)
        try:
            outcome: Outcome = pickle.loads(slot.future.result())
            return outcome
        except ProcessExpired as error:
            if not self._waiting:  # no new process for nothing
                self._end(slot)
            return Died(error.exitcode)
        except BrokenProcessPool:  # it died before Pebble had read which call it took
            self._end(slot)
            return Died(slot.context.ended(slot.pid[0]))
        except TimeoutError:
            return TimedOut(float(slot.call.timeout or 0))
        except Exception as error:  # what cannot be pickled, or not be read here
            return _raised(error)

    def _of_silent(self, slot: _Slot) -> Outcome | None:
        """The outcome of a call whose process is gone without Pebble's notice, as one that ended with exit code 0."""
        code = slot.context.ended(slot.pid[0])
        if code is None:
            return None
        slot.gone = slot.gone or time.monotonic()
        if time.monotonic() - slot.gone < _GRACE:
            return None
        self._end(slot)
        return Died(code)

    def _end(self, slot: _Slot) -> None:
        if slot.pool is not None:
            slot.pool.stop()  # type: ignore[no-untyped-call]
            self._ended.append(slot.pool)
            slot.pool = None


def _begin(pid: Any, prepare: Callable[..., None], arguments: Sequence[Any]) -> None:
    global _own_pid
    end_with_parent()
    _own_pid = pid
    prepare(*arguments)


def _make(function: Callable[..., Any], arguments: Sequence[Any]) -> bytes:
    """The outcome of a call, pickled: what fails to pickle in Pebble's hands ends the worker."""
    _own_pid[0] = os.getpid()
    outcome = outcome_of(function, arguments)
    try:
        return pickle.dumps(outcome)
    except Exception as error:
        return pickle.dumps(_raised(error))
    finally:
        _own_pid[0] = _DONE


def _raised(error: Exception) -> Raised:
    return Raised(type(error).__name__, str(error), "")
