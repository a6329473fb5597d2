"""Checks in a worker process: one that hangs or ends its process is reported with the call that did it; the others go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from gradcheck_lab.commands.check import Checked, CheckJob
from gradcheck_lab.discovery.scan import Defined, defined
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.probes.support import running
from gradcheck_lab.report import Report
from gradcheck_lab.workers.outcome import Outcome, Raised, Returned, TimedOut
from gradcheck_lab.workers.pool import Call, Workers
from gradcheck_lab.workers.progress import SharedProgress

_EVERY = 0.1  # seconds between two looks at the worker
_AS_GIVEN = "the call as given"
_progress: SharedProgress | None = None  # set in a worker process


def check_in_workers(jobs: Sequence[CheckJob], timeout: float | None) -> Iterator[Checked]:
    """Run each check in a worker process for at most `timeout` seconds, one after the other."""
    progress = SharedProgress(len(jobs), numbers=1)
    with Workers(1, _prepare_worker, (progress,)) as workers:
        for index, job in enumerate(jobs):
            outcome = _awaited(workers, Call(index, _check_in_worker, (index, job), timeout))
            if isinstance(outcome, Returned):
                data, refused, why = outcome.value
                yield Checked(None if data is None else Report.from_dict(data), refused, why)
            else:
                yield Checked(_ended_report(job, outcome, progress.text(index)))


def defined_in_worker(module: str, timeout: float | None) -> Defined:
    """What a module defines, which is imported in a worker process. Raises `InvalidArgument` where that fails."""
    with Workers(1, _prepare_worker, (SharedProgress(1, numbers=1),)) as workers:
        outcome = _awaited(workers, Call(0, _defined_in_worker, (module,), timeout))
    if not isinstance(outcome, Returned):
        raise InvalidArgument(f"importing {module!r} {_words(outcome)}; a module has to be importable to be checked")
    if outcome.value[1]:
        raise InvalidArgument(outcome.value[1])
    defined: Defined = outcome.value[0]
    return defined


def _awaited(workers: Workers, call: Call) -> Outcome:
    workers.submit(call)
    while True:
        for _, outcome in workers.finished(within=_EVERY):
            return outcome


def _ended_report(job: CheckJob, outcome: Outcome, doing: str) -> Report:
    cause = "timed-out" if isinstance(outcome, TimedOut) else "crashed"
    finding = Finding(
        cause,
        "error",
        f"{doing or _AS_GIVEN} {_words(outcome)}",
        explanation="a call may raise an exception, but not end or hold up the process that makes it",
        suggestion="allow more time with --timeout, or look for a loop that does not end" if cause == "timed-out" else
        "raise an exception instead; python -X faulthandler shows where it ends",
    )  # fmt: skip
    return Report(
        "fail", job.name, "op", (), (finding,), "none", seed=job.seed, reproduce=job.command, environment=environment()
    )


def _words(outcome: Outcome) -> str:
    if isinstance(outcome, TimedOut):
        return f"took longer than {outcome.seconds:g} seconds"
    return one_line(f"raised {outcome.kind}: {outcome.message}" if isinstance(outcome, Raised) else str(outcome))


def _prepare_worker(progress: SharedProgress) -> None:
    """Let torch use one thread, and keep where the worker writes what it is doing."""
    global _progress
    torch.set_num_threads(1)
    _progress = progress


def _check_in_worker(index: int, job: CheckJob) -> tuple[dict[str, Any] | None, str, str]:
    assert _progress is not None
    progress = _progress
    progress.write(index, _AS_GIVEN)
    running.starting[:] = [lambda name: progress.write(index, f"a call that the probe {name} made of {_AS_GIVEN}")]
    done = job.run()
    return None if done.report is None else done.report.to_dict(), done.refused, done.why


def _defined_in_worker(module: str) -> tuple[Defined, str]:
    try:
        return defined(module), ""
    except InvalidArgument as error:
        return ([], ""), str(error)
