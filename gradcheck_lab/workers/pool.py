"""Calls in worker processes. Every call ends with an `Outcome`, also where its process dies.

The processes are Pebble's, which kills a process whose call takes too long and replaces one that died. Each worker is a Pebble
pool of one process, so that the pool tells which call died with its process, and workers share no lock or pipe. One Pebble
pool of several processes fails as a whole where a process dies before it has said which call it took.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.sharedctypes import RawArray
from types import TracebackType
from typing import Any, Self

from pebble import ProcessExpired, ProcessPool

from gradcheck_lab.workers.envelope import NotOurs
from gradcheck_lab.workers.lifetime import end_with_parent
from gradcheck_lab.workers.messages import pack_outcome, unpack_outcome
from gradcheck_lab.workers.outcome import Died, LostDevice, Outcome, Raised, TimedOut, Unreadable, outcome_of
from gradcheck_lab.workers.starting import UninterruptedContext, wait_for_launches

Key = int

_GRACE = 1.0  # seconds for Pebble, which polls every 0.1 s, to report a process that ended; it never reports exit code 0
_NOT_STARTED, _DONE = 0, -1  # instead of a pid: no call has started in the worker; its call is done
_running_pid: Any = None  # set in a worker: the shared memory where it writes its pid while it runs a call


@dataclass(frozen=True, slots=True)
class Call:
    """A function of a module with arguments that can be pickled, and the seconds that it may take; None for no limit.

    What it returns is made of dataclasses, containers and plain values. It arrives as data: see `messages.read_as`. No process
    makes calls of two groups: what those of one have imported is not there for the other. A call that `waits_for_launches` has
    a process of its own, which waits for each kernel of an accelerator where it is launched.
    """

    key: Key
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    timeout: float | None = None
    group: str = ""
    waits_for_launches: bool = False


@dataclass(slots=True)
class _Slot:
    """One worker and the call that it runs.

    `pid` is shared memory with the pid of its process while a call runs. `group` is that of the calls that the process of the
    `pool` makes. `ended_at` is when that process was first seen to have ended without a report from Pebble.
    """

    pid: Any = field(default_factory=lambda: RawArray("q", 1))
    pool: ProcessPool | None = None
    group: str = ""
    context: UninterruptedContext = field(default_factory=UninterruptedContext)
    call: Call | None = None
    future: Future[bytes] | None = None
    ended_at: float | None = None
    ended_as: Outcome | None = None  # set where this process ended the call


class Workers:
    """`count` processes that run calls; to be used as a context manager, from one thread.

    `prepare(*arguments)` runs first in each process. After `calls_per_process` calls a process is replaced by a new one; 0
    stands for never. All processes end with the context, or with this process if that ends first. A call that ends the context
    of its device ends its process with it, and is made once again in one that waits for each kernel; `doing` gives the text
    that stands for what the process of a call did last.
    """

    def __init__(
        self,
        count: int,
        prepare: Callable[..., None],
        arguments: Sequence[Any] = (),
        calls_per_process: int = 0,
        doing: Callable[[Key], str] = lambda key: "",
    ) -> None:
        self._prepare = prepare
        self._arguments = tuple(arguments)
        self._calls_per_process = calls_per_process
        self._slots = [_Slot() for _ in range(count)]
        self._doing = doing
        self._waiting: deque[Call] = deque()
        self._lost: dict[Key, LostDevice] = {}  # of calls that are made once again
        self._withdrawn: list[tuple[Key, Outcome]] = []
        self._ending: list[threading.Thread] = []  # each waits for the end of a pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for slot in self._slots:
            self._end(slot)
        for thread in self._ending:
            thread.join()

    @property
    def pending(self) -> bool:
        """Whether a call waits or runs, or has ended and `finished` has not said so."""
        return bool(self._waiting or self._withdrawn) or any(slot.call for slot in self._slots)

    def submit(self, call: Call) -> None:
        """Run a call as soon as a worker is free; of several the one whose process has made calls of its group."""
        self._waiting.append(call)
        self._fill()

    def withdraw(self) -> None:
        """Drop the calls that have not started, also those whose worker process is still starting.

        A call that was to be made once again ends with the outcome that it had.
        """
        dropped = list(self._waiting)
        self._waiting.clear()
        for slot in self._slots:
            if slot.call is not None and slot.pid[0] == _NOT_STARTED:
                dropped.append(slot.call)
                self._end(slot)
                slot.call = slot.future = None
        self._withdrawn += [(call.key, self._lost.pop(call.key)) for call in dropped if call.key in self._lost]

    def end(self, key: Key, outcome: Outcome) -> None:
        """Kill the process of a call that runs; the call ends with this outcome."""
        for slot in self._slots:
            if slot.call is not None and slot.call.key == key and slot.pid[0] > 0:
                slot.ended_as = outcome
                with suppress(ProcessLookupError):
                    os.kill(slot.pid[0], signal.SIGKILL)

    def finished(self, within: float) -> list[tuple[Key, Outcome]]:
        """The calls that ended since the last time, with their outcomes; waits at most `within` seconds for the first."""
        futures = [slot.future for slot in self._slots if slot.future is not None]
        if futures:
            wait(futures, timeout=within, return_when=FIRST_COMPLETED)
        found, self._withdrawn = self._withdrawn, []
        for slot in self._slots:
            outcome = self._outcome(slot)
            if outcome is not None and slot.call is not None:
                call, outcome = slot.call, slot.ended_as or outcome
                slot.call = slot.future = slot.ended_as = None
                if isinstance(outcome, LostDevice) or call.waits_for_launches:
                    self._end(slot)
                if (last := self._last(call, outcome)) is not None:
                    found.append((call.key, last))
        self._fill()
        return found

    def _last(self, call: Call, outcome: Outcome) -> Outcome | None:
        """The outcome of a call that is not made again, None where it is."""
        doing = self._doing(call.key)
        if call.waits_for_launches:
            return self._lost.pop(call.key).again(outcome, doing)
        if not isinstance(outcome, LostDevice):
            return outcome
        self._lost[call.key] = replace(outcome, doing=doing)
        self._waiting.appendleft(replace(call, waits_for_launches=True))
        return None

    def _fill(self) -> None:
        while self._waiting and (free := [slot for slot in self._slots if slot.call is None]):
            call = self._waiting.popleft()
            fitting = [slot for slot in free if slot.pool is not None and slot.group == call.group]
            unused = [slot for slot in free if slot.pool is None]
            self._start((fitting or unused or free)[0], call)

    def _start(self, slot: _Slot, call: Call) -> None:
        slot.call, slot.ended_at = call, None
        slot.pid[0] = _NOT_STARTED
        broken = slot.pool is not None and not slot.pool.active  # by what its worker sent between two calls
        if broken or slot.group != call.group or call.waits_for_launches:
            self._end(slot)
        slot.group = call.group
        if slot.pool is None:
            started = (slot.pid, call.waits_for_launches, self._prepare, self._arguments)
            slot.pool = ProcessPool(1, self._calls_per_process, _start_worker, started, context=slot.context)
        slot.future = slot.pool.schedule(_run_call, (call.function, call.arguments), timeout=call.timeout)

    def _outcome(self, slot: _Slot) -> Outcome | None:
        if slot.future is None or slot.call is None:
            return None
        if not slot.future.done():
            return self._unreported_end(slot)
        try:
            return unpack_outcome(slot.future.result())
        except ProcessExpired as error:
            if not self._waiting:  # Pebble would start another process although no call waits
                self._end(slot)
            return Died(error.exitcode)
        except BrokenProcessPool as error:
            self._end(slot)
            if isinstance(error.__cause__, NotOurs):
                return Unreadable(str(error.__cause__))
            # the process died before Pebble had read which call it took
            return Died(slot.context.exit_code(slot.pid[0]))
        except TimeoutError:
            return TimedOut(float(slot.call.timeout or 0))
        except Exception as error:  # arguments that cannot be pickled
            return Raised(type(error).__name__, str(error), "")

    def _unreported_end(self, slot: _Slot) -> Outcome | None:
        """The outcome of a call whose process ended and Pebble does not report it, as with exit code 0; None while it runs."""
        code = slot.context.exit_code(slot.pid[0])
        if code is None:
            return None
        slot.ended_at = slot.ended_at or time.monotonic()
        if time.monotonic() - slot.ended_at < _GRACE:
            return None
        self._end(slot)
        return Died(code)

    def _end(self, slot: _Slot) -> None:
        if slot.pool is not None:
            slot.pool.stop()  # type: ignore[no-untyped-call]
            thread = threading.Thread(target=slot.pool.join, name="end of a worker", daemon=True)
            thread.start()
            self._ending = [each for each in self._ending if each.is_alive()] + [thread]
            slot.pool = None


def _start_worker(pid: Any, waits: bool, prepare: Callable[..., None], arguments: Sequence[Any]) -> None:
    global _running_pid
    end_with_parent()
    if waits:
        wait_for_launches()
    _running_pid = pid
    prepare(*arguments)


def _run_call(function: Callable[..., Any], arguments: Sequence[Any]) -> bytes:
    """Run a call. Pebble takes bytes, in which nothing of the user's is pickled."""
    _running_pid[0] = os.getpid()
    try:
        return pack_outcome(outcome_of(function, arguments))
    finally:
        _running_pid[0] = _DONE
