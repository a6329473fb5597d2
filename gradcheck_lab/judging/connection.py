"""The other end of a process that runs a candidate: requests and answers over two pipes, within limits on time and memory."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from gradcheck_lab.judging.worker.messages import LENGTH, pack, unpack
from gradcheck_lab.model.limits import MESSAGE_OF_A_WORKER
from gradcheck_lab.workers.outcome import Died, MemoryExceeded, Outcome, TimedOut

EVERY = 0.02  # seconds between two looks at a process
_ENDS = 1.0  # seconds that a process has at least until its end is known, once its pipe is closed


class Ended(Exception):
    """The process of a call ended, took too long or too much memory: `outcome`; `interpreter` says that it started another."""

    def __init__(self, outcome: Outcome, interpreter: bool = False) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome
        self.interpreter = interpreter


class Malformed(Exception):
    """What came back is no answer to what was asked."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """The seconds that one call may take, and the bytes of resident memory of the process; None for any."""

    seconds: float
    memory: int | None


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of some `seconds`, on the clock of `time.monotonic`."""

    seconds: float
    end: float

    @classmethod
    def within(cls, seconds: float) -> Deadline:
        """The deadline of what begins now."""
        return cls(seconds, time.monotonic() + seconds)

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.end

    @property
    def rest_of_an_end(self) -> float:
        """Seconds to wait for the end of a process."""
        return max(self.end - time.monotonic(), _ENDS)


class Life(Protocol):
    """How a process is ended, and what is known of its end."""

    def code(self, deadline: Deadline) -> int | None:
        """Its exit code, None where that is not known. Raises `TimeoutError` where it goes on."""

    def started_interpreter(self) -> bool:
        """Whether it was ended because another interpreter was started in it."""

    def end(self) -> None:
        """End it with all that it started."""


@dataclass
class Worker:
    """One process that runs a candidate, and the two pipes to it."""

    to: int
    source: int
    pid: int
    limits: WorkerLimits
    life: Life
    stopped: bool = False

    def __post_init__(self) -> None:
        os.set_blocking(self.to, False)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer. Raises `Ended` and `Malformed`."""
        deadline = Deadline.within(self.limits.seconds)
        self._write(pack(dict(request)), deadline)
        data = self.message(deadline)
        try:
            reply = unpack(data)
        except Exception as error:
            raise Malformed(f"its answer cannot be read ({type(error).__name__})") from None
        if not isinstance(reply, dict):
            raise Malformed("its answer is no table")
        return reply

    def message(self, deadline: Deadline) -> bytearray:
        """The bytes of what it says next. Raises `Ended` and `Malformed`."""
        size = LENGTH.unpack(self._read(LENGTH.size, deadline))[0]
        if not 0 <= size <= MESSAGE_OF_A_WORKER.value:
            raise Malformed(f"it announces an answer of {size} bytes")
        return self._read(size, deadline)

    def stop(self) -> None:
        """End the process with all that it started."""
        if self.stopped:
            return
        self.stopped = True
        os.close(self.to)
        os.close(self.source)
        self.life.end()

    def _write(self, data: bytes, deadline: Deadline) -> None:
        rest = memoryview(LENGTH.pack(len(data)) + data)
        while rest:
            self._wait(writing=True, deadline=deadline)
            try:
                rest = rest[os.write(self.to, rest) :]
            except BlockingIOError:
                continue
            except OSError:
                raise self._death(deadline) from None

    def _read(self, size: int, deadline: Deadline) -> bytearray:
        """So many bytes; what was announced and did not come takes no memory."""
        data = bytearray()
        while len(data) < size:
            self._wait(writing=False, deadline=deadline)
            part = os.read(self.source, min(size - len(data), 1 << 20))
            if not part:
                raise self._death(deadline)
            data += part
        return data

    def _wait(self, writing: bool, deadline: Deadline) -> None:
        while True:
            if deadline.is_over:  # also of an answer that comes byte by byte
                raise Ended(TimedOut(deadline.seconds))
            ready = select.select([] if writing else [self.source], [self.to] if writing else [], [], EVERY)
            limit = self.limits.memory
            if limit is not None and resident_memory(self.pid) > limit:
                raise Ended(MemoryExceeded(limit))
            if ready[writing]:
                return

    def _death(self, deadline: Deadline) -> Ended:
        """How a process ended that closed its pipe; one that goes on without it takes too long."""
        try:
            return Ended(Died(self.life.code(deadline)), self.life.started_interpreter())
        except TimeoutError:
            return Ended(TimedOut(deadline.seconds))


def resident_memory(pid: int) -> int:
    """The bytes of memory that a process and those that it started hold; 0 where the system does not say."""
    page, found, waiting = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096, 0, [pid]
    while waiting:
        each = waiting.pop()
        with suppress(OSError, ValueError, IndexError):
            found += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * page
            for thread in Path(f"/proc/{each}/task").iterdir():
                waiting += [int(child) for child in (thread / "children").read_text().split()]
    return found


def owned(value: Any) -> torch.Tensor:
    """A tensor that came back, as one of this process. Raises `Malformed` where it is none of the ordinary ones."""
    if type(value) is not torch.Tensor:
        raise Malformed(f"a {type(value).__name__} stands for a tensor")
    if value.numel() * value.itemsize > value.untyped_storage().nbytes():
        raise Malformed(f"a tensor of {value.numel()} elements has the memory of fewer")
    return value.clone()


def parts_of(value: Any) -> Sequence[Any]:
    """A list that came back. Raises `Malformed`."""
    if type(value) is not list:
        raise Malformed(f"a {type(value).__name__} stands for a list")
    return value
