"""A case in a worker process: its result crosses as data, and what is known of one that ends early is in a file."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gradcheck_lab.campaigns.cases import Case, CheckCase, Finished
from gradcheck_lab.isolation import Subjected, ended_report, read_known, write_known
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.model.watching import Watch, watches
from gradcheck_lab.workers.memory import memory_limited
from gradcheck_lab.workers.messages import read_as
from gradcheck_lab.workers.outcome import MemoryExceeded, Outcome, Returned
from gradcheck_lab.workers.pool import Call
from gradcheck_lab.workers.progress import SharedProgress

_progress: SharedProgress | None = None  # set in a worker process


@dataclass(frozen=True, slots=True)
class Sent:
    """What a worker sends of a case: its report as data, or why there is none, and the seconds that it took."""

    report: dict[str, Any] | None
    why: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Lanes:
    """What a worker writes while it runs a case: in shared memory when it began and what it does, in a file what it knows.

    There are as many lanes as cases that may wait or run at a time, so that memory does not grow with the campaign.
    """

    progress: SharedProgress
    folder: Path

    def call(self, lane: int, case: Case, check: CheckCase) -> Call:
        """The call that runs a case in a worker."""
        self.progress.write(lane, "")
        self.progress.count(lane, 0)
        return Call(lane, _check_in_worker, (lane, case, check, self._known(lane)), case.timeout, case.module)

    def finished(self, lane: int, case: Case, outcome: Outcome) -> Finished:
        """What came of a call: the worker's answer, or a report that says how its process ended. The lane is free then."""
        try:
            return self._finished(lane, case, outcome)
        finally:
            self._known(lane).unlink(missing_ok=True)

    def _finished(self, lane: int, case: Case, outcome: Outcome) -> Finished:
        outcome = read_as(outcome, Sent)
        if isinstance(outcome, Returned):
            sent: Sent = outcome.value
            return Finished(case, sent.report, sent.why, sent.seconds)
        if isinstance(outcome, MemoryExceeded):
            outcome = replace(outcome, limit=case.memory)
        subject = Subjected(case.name, case.seed, "")
        report = ended_report(read_known(self._known(lane)), subject, outcome, self.progress.text(lane))
        (began,) = self.progress.counts(lane)
        seconds = (time.monotonic_ns() - began) / 1e9 if began else 0.0
        return Finished(case, report.to_dict(), "", seconds)

    def _known(self, lane: int) -> Path:
        return self.folder / f"{lane}.json"


def prepare_worker(progress: SharedProgress) -> None:
    """Let torch use one thread, and keep where the worker writes what it is doing."""
    global _progress
    torch.set_num_threads(1)
    _progress = progress


def _check_in_worker(lane: int, case: Case, check: CheckCase, known: Path) -> Sent:
    assert _progress is not None
    progress = _progress
    began = time.monotonic_ns()
    progress.count(lane, began)
    watches[:] = [Watch(lambda text: progress.write(lane, text), lambda report: write_known(known, report))]
    with memory_limited(case.memory):
        answer = check(case)
    report = None if answer.report is None else answer.report.to_dict()
    return Sent(report, one_line(answer.why), (time.monotonic_ns() - began) / 1e9)
