"""Jobs of fuzzing, run in this process one after the other or in workers, and their reports gathered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.commands.fuzz_end import Notes, report_of_end
from gradcheck_lab.commands.fuzz_job import Counts, Job, plan_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.several import Fuzzed
from gradcheck_lab.report import Report
from gradcheck_lab.workers.board import Board
from gradcheck_lab.workers.outcome import Died, Exited, Outcome, Returned
from gradcheck_lab.workers.pool import Call, Workers

_EVERY = 0.1  # seconds between two looks at what the workers count
_board: Board | None = None  # in a worker


@dataclass(frozen=True, slots=True)
class Done:
    """What a job came to, as data that crosses processes: its report, or why it could not be run."""

    report: dict[str, Any] | None
    interrupted: bool = False
    refused: str | None = None


def fuzz_here(fuzzed: Fuzzed, work: Sequence[Job], counts: Counts) -> None:
    """Run the jobs in this process; Ctrl-C ends them."""
    for job in work:
        noted = [""]

        def write(text: str, noted: list[str] = noted) -> bool:
            noted[0] = text
            return True

        try:
            done = _run(job, counts, Notes(write))
        except KeyboardInterrupt:
            done = Done(None, interrupted=True)
        except SystemExit as error:
            fuzzed.take(job.name, _named(report_of_end(job, Exited(repr(error.code)), noted[0], 0), job))
            continue
        _take(fuzzed, job, done)
        if fuzzed.interrupted:
            break


def fuzz_in_workers(fuzzed: Fuzzed, work: Sequence[Job], jobs: int, counts: Counts) -> None:
    """Run the jobs in as many processes; the first Ctrl-C ends them with what they know, the second at once."""
    board = Board(len(work), numbers=2)
    shown: list[tuple[int, ...]] = [(0, 0)] * len(work)
    with Workers(min(jobs, len(work)), _prepare, (board,)) as workers:
        for index, job in enumerate(work):
            workers.submit(Call(index, _run_noted, (index, job)))
        while workers.pending:
            try:
                ended = workers.finished(within=_EVERY)
                for index, outcome in ended:
                    _gather(fuzzed, work[index], outcome, board, index)
                _show(work, board, shown, counts)
            except KeyboardInterrupt:
                workers.withdraw()
                if board.stopped:
                    break
                board.stop()
                fuzzed.interrupted = True
    fuzzed.reports = {name: fuzzed.reports[name] for name in dict.fromkeys(job.name for job in work) if name in fuzzed.reports}


def _show(work: Sequence[Job], board: Board, shown: list[tuple[int, ...]], counts: Counts) -> None:
    """Pass on what each object's parts count together, where that has changed."""
    now = [board.counts(index) for index in range(len(work))]
    for name in dict.fromkeys(job.name for index, job in enumerate(work) if now[index] != shown[index]):
        parts = [now[index] for index, job in enumerate(work) if job.name == name]
        counts(name, sum(examples for examples, _ in parts), max(wrong for _, wrong in parts))
    shown[:] = now


def _gather(fuzzed: Fuzzed, job: Job, outcome: Outcome, board: Board, index: int) -> None:
    if isinstance(outcome, (Died, Exited)):
        if not (board.stopped and isinstance(outcome, Died) and not board.text(index)):  # Ctrl-C while it started
            fuzzed.take(job.name, _named(report_of_end(job, outcome, board.text(index), board.counts(index)[0]), job))
    elif isinstance(outcome, Returned):
        _take(fuzzed, job, outcome.value)
    else:
        raise RuntimeError(f"fuzzing {job.target} failed: {outcome}")


def _take(fuzzed: Fuzzed, job: Job, done: Done) -> None:
    fuzzed.interrupted |= done.interrupted
    if done.refused is not None:
        if ":" in fuzzed.target:
            raise InvalidArgument(done.refused)
        fuzzed.skipped[job.name] = done.refused
    if done.report is not None:
        fuzzed.take(job.name, _named(Report.from_dict(done.report), job))


def _named(report: Report, job: Job) -> Report:
    return replace(report, subject=job.name)


def _run(job: Job, counts: Counts, notes: Notes) -> Done:
    notes.plan = plan = plan_of(job, counts, notes.before)
    try:
        report = plan.run()
    except InvalidArgument as error:
        return Done(None, refused=str(error))
    return Done(report.to_dict(), plan.interrupted)


def _prepare(board: Board) -> None:
    """Set up a worker: torch uses one thread."""
    global _board
    torch.set_num_threads(1)
    _board = board


def _run_noted(index: int, job: Job) -> Done:
    assert _board is not None
    board = _board

    def counts(name: str, examples: int, wrong: int) -> None:
        board.count(index, examples, wrong)
        if board.stopped:
            raise KeyboardInterrupt

    if board.stopped:
        return Done(None, interrupted=True)
    return _run(job, counts, Notes(lambda text: board.write(index, text)))
