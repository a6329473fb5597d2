"""Checks in a worker process: one that hangs or ends its process is reported with the call that did it; the others go on."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from gradcheck_lab.commands.check import Checked, CheckJob
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import Subjected, ended_report
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.model.watching import Watch, watches
from gradcheck_lab.report import Report
from gradcheck_lab.workers.apart import Limits
from gradcheck_lab.workers.memory import memory_limited
from gradcheck_lab.workers.outcome import MemoryExceeded, Outcome, Returned
from gradcheck_lab.workers.pool import Call, Workers
from gradcheck_lab.workers.progress import SharedProgress

_EVERY = 0.1  # seconds between two looks at the worker
_progress: SharedProgress | None = None  # set in a worker process


def check_in_workers(jobs: Sequence[CheckJob], limits: Limits) -> Iterator[Checked]:
    """Run each check in a worker process under these limits, one after the other."""
    progress = SharedProgress(len(jobs), numbers=1)
    with TemporaryDirectory(prefix="gradcheck-lab-") as folder, Workers(1, _prepare_worker, (progress,)) as workers:
        for index, job in enumerate(jobs):
            known = Path(folder) / str(index)
            outcome = _awaited(workers, Call(index, _check_in_worker, (index, job, known, limits.memory), limits.seconds))
            if isinstance(outcome, Returned):
                data, refused, why = outcome.value
                yield Checked(None if data is None else Report.from_dict(data), refused, why)
            else:
                if isinstance(outcome, MemoryExceeded):
                    outcome = replace(outcome, limit=limits.memory)
                subject = Subjected(job.name, job.seed, job.command)
                report = ended_report(_read(known), subject, outcome, progress.text(index))
                yield Checked(replace(report, reproduce=job.command))


def in_worker(function: Callable[..., Any], arguments: tuple[Any, ...], target: str, limits: Limits) -> Any:
    """What a function that imports the module of `target` returns, called in a worker process.

    Raises `InvalidArgument` as the function does, and where importing the module ends the process.
    """
    with Workers(1, _prepare_worker, (SharedProgress(1, numbers=1),)) as workers:
        outcome = _awaited(workers, Call(0, _call_in_worker, (function, arguments, limits.memory), limits.seconds))
    if isinstance(outcome, MemoryExceeded):
        outcome = replace(outcome, limit=limits.memory)
    module = target.partition(":")[0]
    if not isinstance(outcome, Returned):
        raise InvalidArgument(f"importing {module!r} {one_line(str(outcome))}; a module has to be importable to be checked")
    found, refused = outcome.value
    if refused:
        raise InvalidArgument(refused)
    return found


def _awaited(workers: Workers, call: Call) -> Outcome:
    workers.submit(call)
    while True:
        for _, outcome in workers.finished(within=_EVERY):
            return outcome


def _read(known: Path) -> Report | None:
    """What a worker wrote of a check before it ended."""
    if not known.exists():
        return None
    report: Report = pickle.loads(known.read_bytes())
    return report


def _write(known: Path, report: Report) -> None:
    beside = known.with_suffix(".new")
    with suppress(OSError):
        beside.write_bytes(pickle.dumps(report))
        beside.replace(known)


def _prepare_worker(progress: SharedProgress) -> None:
    """Let torch use one thread, and keep where the worker writes what it is doing."""
    global _progress
    torch.set_num_threads(1)
    _progress = progress


def _check_in_worker(index: int, job: CheckJob, known: Path, memory: int | None) -> tuple[dict[str, Any] | None, str, str]:
    assert _progress is not None
    progress = _progress
    watches[:] = [Watch(lambda text: progress.write(index, text), lambda report: _write(known, report))]
    with memory_limited(memory):
        done = job.run()
    return None if done.report is None else done.report.to_dict(), done.refused, done.why


def _call_in_worker(function: Callable[..., Any], arguments: tuple[Any, ...], memory: int | None) -> tuple[Any, str]:
    try:
        with memory_limited(memory):
            return function(*arguments), ""
    except InvalidArgument as error:
        return None, str(error)
