"""Checks in worker processes: results cross as data, and what is known of a check that ends early is in a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import torch

from gradcheck_lab.isolation import Subjected, ended_report, read_known, write_known
from gradcheck_lab.model.findings import contradiction
from gradcheck_lab.model.watching import Watch, watches
from gradcheck_lab.report import Report
from gradcheck_lab.workers.apart import Limits
from gradcheck_lab.workers.memory import memory_limited
from gradcheck_lab.workers.messages import read_as
from gradcheck_lab.workers.outcome import MemoryExceeded, Outcome, Returned, Unreadable
from gradcheck_lab.workers.pool import Call, Workers
from gradcheck_lab.workers.progress import SharedProgress

_progress: SharedProgress | None = None  # set in a worker process


class WithReport(Protocol):
    """The data that a check sends: a dataclass that has its report, None where there is none."""

    @property
    def report(self) -> Report | None:
        """The report."""


Sent = TypeVar("Sent", bound=WithReport)


@dataclass(frozen=True, slots=True)
class Lanes:
    """What a worker writes while it checks: in shared memory when it began and what it does, in a file what it knows.

    There are as many lanes as checks that may wait or run at a time, so that memory does not grow with their number.
    """

    progress: SharedProgress
    folder: Path

    def workers(
        self, count: int, prepare: Callable[..., None], arguments: tuple[Any, ...] = (), calls_per_process: int = 0
    ) -> Workers:
        """So many workers, each of which `prepare(progress, *arguments)` lets write in these lanes."""
        return Workers(count, prepare, (self.progress, *arguments), calls_per_process, self.progress.text)

    def call(
        self, lane: int, function: Callable[..., WithReport], arguments: tuple[Any, ...], limits: Limits, group: str = ""
    ) -> Call:
        """The call that checks in a worker, under limits; `group` as of a `Call`."""
        self.progress.write(lane, "")
        self.progress.count(lane, 0)
        known = self._known(lane)
        return Call(lane, _watched, (lane, known, function, arguments, limits.memory), limits.seconds, group)

    def result(self, lane: int, outcome: Outcome, kind: type[Sent], subject: Subjected, limits: Limits) -> Sent | Report:
        """What the function returned, a dataclass of this kind, or a report of how the call ended. The lane is free then."""
        outcome = _sound(limited(read_as(outcome, kind), limits))
        try:
            if isinstance(outcome, Returned):
                sent: Sent = outcome.value
                return sent
            return ended_report(read_known(self._known(lane)), subject, outcome, self.progress.text(lane))
        finally:
            self._known(lane).unlink(missing_ok=True)

    def seconds(self, lane: int) -> float:
        """The seconds since the call of a lane began, 0 where it has not."""
        (began,) = self.progress.counts(lane)
        return (time.monotonic_ns() - began) / 1e9 if began else 0.0

    def _known(self, lane: int) -> Path:
        return self.folder / f"{lane}.json"


@contextmanager
def lanes_of(count: int) -> Iterator[Lanes]:
    """So many lanes, whose files go with the context."""
    with TemporaryDirectory(prefix="gradcheck-lab-") as folder:
        yield Lanes(SharedProgress(count, numbers=1), Path(folder))


def limited(outcome: Outcome, limits: Limits) -> Outcome:
    """The outcome; where memory ran out, it says which limit there was."""
    return replace(outcome, limit=limits.memory) if isinstance(outcome, MemoryExceeded) else outcome


def prepare_worker(progress: SharedProgress) -> None:
    """Let torch use one thread, and keep where the worker writes what it is doing."""
    global _progress
    torch.set_num_threads(1)
    _progress = progress


def _watched(lane: int, known: Path, function: Callable[..., Any], arguments: tuple[Any, ...], memory: int | None) -> Any:
    assert _progress is not None
    progress = _progress
    progress.count(lane, time.monotonic_ns())
    watches[:] = [Watch(lambda text: progress.write(lane, text), lambda report: write_known(known, report))]
    with memory_limited(memory):
        return function(*arguments)


def _sound(outcome: Outcome) -> Outcome:
    """The outcome, unless its report says something else in its verdict than in its gradients and findings."""
    report = outcome.value.report if isinstance(outcome, Returned) else None
    problem = "" if report is None else contradiction(report)
    return Unreadable(f"a report that contradicts itself: {problem}") if problem else outcome
