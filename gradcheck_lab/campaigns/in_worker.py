"""A case in a worker process: its result crosses as text of JSON, and what is known of one that ends early is in a file.

Nothing of the user's is unpickled in the process that runs the campaign.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from gradcheck_lab.campaigns.cases import Case, CheckCase, Finished
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import Subjected, ended_report
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.model.watching import Watch, watches
from gradcheck_lab.report import Report
from gradcheck_lab.workers.memory import memory_limited
from gradcheck_lab.workers.outcome import Died, MemoryExceeded, Outcome, Returned
from gradcheck_lab.workers.pool import Call
from gradcheck_lab.workers.progress import SharedProgress

_progress: SharedProgress | None = None  # set in a worker process


@dataclass(frozen=True, slots=True)
class Lanes:
    """What a worker writes while it runs a case: in shared memory when it began and what it does, in a file what it knows.

    There are as many lanes as cases that may wait or run at a time, so that memory does not grow with the campaign.
    """

    progress: SharedProgress
    folder: Path

    def call(self, lane: int, case: Case, check: CheckCase) -> Call:
        """The call that runs a case in a worker."""
        self._known(lane).unlink(missing_ok=True)
        self.progress.write(lane, "")
        self.progress.count(lane, 0)
        return Call(lane, _check_in_worker, (lane, case, check, self._known(lane)), case.timeout)

    def finished(self, lane: int, case: Case, outcome: Outcome) -> Finished:
        """What came of a call: the worker's answer, or a report that says how its process ended."""
        if isinstance(outcome, Returned):
            try:
                data = json.loads(outcome.value)
                return Finished(case, data["report"], data["why"], data["seconds"])
            except (ValueError, TypeError, KeyError):  # the user's code, which shares the worker, spoiled the answer
                outcome = Died(None)
        if isinstance(outcome, MemoryExceeded):
            outcome = replace(outcome, limit=case.memory)
        subject = Subjected(case.name, case.seed, "")
        report = ended_report(self._read(lane), subject, outcome, self.progress.text(lane))
        (began,) = self.progress.counts(lane)
        seconds = (time.monotonic_ns() - began) / 1e9 if began else 0.0
        return Finished(case, report.to_dict(), "", seconds)

    def _known(self, lane: int) -> Path:
        return self.folder / f"{lane}.json"

    def _read(self, lane: int) -> Report | None:
        """What the worker knew of the case; None for nothing, and for what is no report."""
        try:
            return Report.from_dict(json.loads(self._known(lane).read_bytes()))
        except (OSError, ValueError, InvalidArgument):
            return None


def prepare_worker(progress: SharedProgress) -> None:
    """Let torch use one thread, and keep where the worker writes what it is doing."""
    global _progress
    torch.set_num_threads(1)
    _progress = progress


def _check_in_worker(lane: int, case: Case, check: CheckCase, known: Path) -> str:
    """The result of a case as text of JSON."""
    assert _progress is not None
    progress = _progress
    began = time.monotonic_ns()
    progress.count(lane, began)
    watches[:] = [Watch(lambda text: progress.write(lane, text), lambda report: _write(known, report))]
    with memory_limited(case.memory):
        answer = check(case)
    data: dict[str, Any] = {
        "report": None if answer.report is None else answer.report.to_dict(),
        "why": one_line(answer.why),
        "seconds": (time.monotonic_ns() - began) / 1e9,
    }
    return json.dumps(data)


def _write(known: Path, report: Report) -> None:
    beside = known.with_suffix(".new")
    with suppress(OSError):
        beside.write_text(json.dumps(report.to_dict()), encoding="utf-8")
        beside.replace(known)
