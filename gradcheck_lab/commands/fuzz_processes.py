"""Fuzz jobs run in this process one after the other, or in worker processes, and their reports gathered."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch

from gradcheck_lab.commands.fuzz_crash import crash_report
from gradcheck_lab.commands.fuzz_jobs import Job, ShowCounts, fuzz_run_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.call_log import CallLog
from gradcheck_lab.model.several import Fuzzed
from gradcheck_lab.model.watching import Watch, watches
from gradcheck_lab.report import Report
from gradcheck_lab.workers.apart import Limits
from gradcheck_lab.workers.memory import memory_limited
from gradcheck_lab.workers.messages import read_as
from gradcheck_lab.workers.outcome import Died, Exited, LostDevice, MemoryExceeded, Outcome, Returned, TimedOut, Unreadable
from gradcheck_lab.workers.pool import Call, Workers
from gradcheck_lab.workers.progress import SharedProgress

_EVERY = 0.1  # seconds between two looks at the counts of the workers
_progress: SharedProgress | None = None  # set in a worker process


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job returns: its report, or why the object could not be fuzzed."""

    report: Report | None
    interrupted: bool = False
    refused: str | None = None


def fuzz_here(fuzzed: Fuzzed, work: Sequence[Job], show: ShowCounts) -> None:
    """Run the jobs in this process and add their reports to `fuzzed`; Ctrl-C ends them."""
    for job in work:
        try:
            result = _run(job, show, CallLog(lambda text: True))
        except KeyboardInterrupt:
            result = JobResult(None, interrupted=True)
        _add(fuzzed, job, result)
        if fuzzed.interrupted:
            break


def fuzz_in_workers(fuzzed: Fuzzed, work: Sequence[Job], processes: int, limits: Limits, show: ShowCounts) -> None:
    """Run the jobs in worker processes and add their reports to `fuzzed`.

    The seconds of `limits` are those of one drawn call with all that are derived from it. The first Ctrl-C ends each job with
    what it knows, the second ends the processes at once.
    """
    progress = SharedProgress(len(work), numbers=3)
    shown: list[tuple[int, ...]] = [(0, 0, 0)] * len(work)
    clock = _Clock(progress, limits.seconds)
    with Workers(min(processes, len(work)), _prepare_worker, (progress,), doing=progress.text) as workers:
        for index, job in enumerate(work):
            workers.submit(Call(index, _run_in_worker, (index, job, limits.memory)))
        while workers.pending:
            try:
                ended = workers.finished(within=_EVERY)
                for index, outcome in ended:
                    if isinstance(outcome, MemoryExceeded):
                        outcome = replace(outcome, limit=limits.memory)
                    _add_outcome(fuzzed, work[index], read_as(outcome, JobResult), progress, index)
                for index in clock.late(range(len(work))):
                    workers.end(index, TimedOut(clock.seconds))
                _show_changes(work, progress, shown, show)
            except KeyboardInterrupt:
                workers.withdraw()
                if progress.stopped:
                    break
                progress.stop()
                fuzzed.interrupted = True
    fuzzed.reports = {name: fuzzed.reports[name] for name in dict.fromkeys(job.name for job in work) if name in fuzzed.reports}


@dataclass(slots=True)
class _Clock:
    """When each job began its last call."""

    progress: SharedProgress
    limit: float | None
    began: dict[int, tuple[int, float]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """The seconds that a call may take."""
        return float("inf") if self.limit is None else self.limit

    def late(self, jobs: Iterable[int]) -> list[int]:
        """The jobs whose call takes longer than it may; one that has not begun a call imports its module."""
        now, found = time.monotonic(), []
        for job in jobs:
            calls = self.progress.counts(job)[2]
            if calls and self.began.get(job, (0, now))[0] != calls:
                self.began[job] = calls, now
            elif calls and now - self.began[job][1] > self.seconds:
                found.append(job)
        return found


def _show_changes(work: Sequence[Job], progress: SharedProgress, shown: list[tuple[int, ...]], show: ShowCounts) -> None:
    """Show the counts of each object, summed over its jobs, where they differ from those in `shown`."""
    now = [progress.counts(index) for index in range(len(work))]
    for name in dict.fromkeys(job.name for index, job in enumerate(work) if now[index] != shown[index]):
        parts = [now[index] for index, job in enumerate(work) if job.name == name]
        show(name, sum(part[0] for part in parts), max(part[1] for part in parts))
    shown[:] = now


def _add_outcome(fuzzed: Fuzzed, job: Job, outcome: Outcome, progress: SharedProgress, index: int) -> None:
    if isinstance(outcome, (Died, Exited, TimedOut, MemoryExceeded, LostDevice, Unreadable)):
        logged = outcome.doing if isinstance(outcome, LostDevice) else progress.text(index)
        interrupted_at_start = progress.stopped and isinstance(outcome, Died) and not logged
        if not interrupted_at_start:
            report = crash_report(job, outcome, logged, progress.counts(index)[0])
            fuzzed.add(job.name, _named(report, job))
    elif isinstance(outcome, Returned):
        _add(fuzzed, job, outcome.value)
    else:
        raise RuntimeError(f"fuzzing {job.target} failed: {outcome}")


def _add(fuzzed: Fuzzed, job: Job, result: JobResult) -> None:
    fuzzed.interrupted |= result.interrupted
    if result.refused is not None:
        if ":" in fuzzed.target:
            raise InvalidArgument(result.refused)
        fuzzed.skipped[job.name] = result.refused
    if result.report is not None:
        fuzzed.add(job.name, _named(result.report, job))


def _named(report: Report, job: Job) -> Report:
    return replace(report, subject=job.name)


def _run(job: Job, show: ShowCounts, log: CallLog) -> JobResult:
    log.run = run = fuzz_run_of(job, show, log.before_call)
    try:
        report = run.run()
    except InvalidArgument as error:
        return JobResult(None, refused=str(error))
    return JobResult(report, run.interrupted)


def _prepare_worker(progress: SharedProgress) -> None:
    """Let torch use one thread, and keep where the worker writes its counts."""
    global _progress
    torch.set_num_threads(1)
    _progress = progress


def _run_in_worker(index: int, job: Job, memory: int | None) -> JobResult:
    assert _progress is not None
    progress = _progress
    if progress.stopped:
        return JobResult(None, interrupted=True)
    counts = [0, 0, 0]  # examples, whether one is wrong, calls that were written down
    progress.count(index, *counts)

    def count(name: str, examples: int, wrong: int) -> None:
        counts[:2] = examples, wrong
        progress.count(index, *counts)
        if progress.stopped:
            raise KeyboardInterrupt

    def write(text: str) -> bool:
        written = progress.write(index, text)
        counts[2] += 1
        progress.count(index, *counts)
        return written

    watches[:] = [Watch(lambda text: None)]
    with memory_limited(memory):
        return _run(job, count, CallLog(write))
