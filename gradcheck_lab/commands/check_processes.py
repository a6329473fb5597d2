"""Checks in a worker process: one that hangs or ends its process is reported with the call that did it; the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from gradcheck_lab.campaigns.lanes import lanes_of, limited, prepare_worker
from gradcheck_lab.commands.check import Checked, CheckJob
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import Subjected
from gradcheck_lab.model.conversion import from_dict
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.report import Report
from gradcheck_lab.workers.apart import Limits
from gradcheck_lab.workers.memory import memory_limited
from gradcheck_lab.workers.messages import read_as
from gradcheck_lab.workers.outcome import Outcome, Returned
from gradcheck_lab.workers.pool import Call, Workers
from gradcheck_lab.workers.progress import SharedProgress

_EVERY = 0.1  # seconds between two looks at the worker
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class _Found:
    """What a function that imports a module returned, as data, or what it refused."""

    data: Any
    refused: str | None = None


def check_in_workers(jobs: Sequence[CheckJob], limits: Limits) -> Iterator[Checked]:
    """Run each check in a worker process under these limits, one after the other."""
    with lanes_of(1) as lanes, lanes.workers(1, prepare_worker) as workers:
        for job in jobs:
            outcome = _awaited(workers, lanes.call(0, CheckJob.run, (job,), limits))
            found = lanes.result(0, outcome, Checked, Subjected(job.name, job.seed, job.command), limits)
            yield Checked(replace(found, reproduce=job.command)) if isinstance(found, Report) else found


def in_worker(
    function: Callable[..., Found], arguments: tuple[Any, ...], kind: type[Found], target: str, limits: Limits
) -> Found:
    """What a function that imports the module of `target` returns, a dataclass of this kind, called in a worker process.

    Raises `InvalidArgument` as the function does, and where importing the module ends the process.
    """
    with Workers(1, prepare_worker, (SharedProgress(1, numbers=1),)) as workers:
        outcome = _awaited(workers, Call(0, _call_in_worker, (function, arguments, limits.memory), limits.seconds))
    outcome = limited(read_as(outcome, _Found), limits)
    module = target.partition(":")[0]
    if not isinstance(outcome, Returned):
        raise InvalidArgument(f"importing {module!r} {one_line(str(outcome))}; a module has to be importable to be checked")
    answer: _Found = outcome.value
    if answer.refused is not None:
        raise InvalidArgument(answer.refused)
    return from_dict(answer.data, kind, f"what importing {module!r} gave")


def _awaited(workers: Workers, call: Call) -> Outcome:
    workers.submit(call)
    while True:
        for _, outcome in workers.finished(within=_EVERY):
            return outcome


def _call_in_worker(function: Callable[..., Any], arguments: tuple[Any, ...], memory: int | None) -> _Found:
    try:
        with memory_limited(memory):
            return _Found(function(*arguments))
    except InvalidArgument as error:
        return _Found(None, str(error))
