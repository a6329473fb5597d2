"""A fuzz run in a process of its own: the call in which that ends, by itself, by time or by memory, is reported."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.call_log import CallLog, ended_run_report, logged_call
from gradcheck_lab.fuzzing.run import FuzzRun
from gradcheck_lab.isolation import Answer, apart
from gradcheck_lab.model.watching import Watch, watches
from gradcheck_lab.render.notebook import FuzzProgress, fuzz_progress
from gradcheck_lab.report import Report
from gradcheck_lab.reproduction.caller import caller
from gradcheck_lab.reproduction.check_call import given
from gradcheck_lab.reproduction.line import Call, line_of
from gradcheck_lab.workers.apart import Limits, Line
from gradcheck_lab.workers.outcome import Returned

MakeRun = Callable[..., FuzzRun]  # takes on_example and before_call by keyword


@dataclass(frozen=True, slots=True)
class _Run:
    """The run in the other process; pickled where that is not a fork of this one."""

    make: MakeRun

    def __call__(self, line: Line) -> Answer:
        watches[:] = [Watch(lambda text: None)]
        log = CallLog(line.doing)

        def before_call(call: Any, probed: bool) -> None:
            line.began()
            log.before_call(call, probed)

        try:
            log.run = run = self.make(on_example=line.count, before_call=before_call)
            report = run.run()
        except InvalidArgument as error:
            return Answer(None, refused=str(error))
        return Answer(report, interrupted=run.interrupted)


def fuzz_apart(make: MakeRun, limits: Limits) -> Report:
    """The report of a run in a process of its own; the seconds of `limits` are those of one drawn call, with all derived calls.

    Raises `InvalidArgument` as the run does, and where it cannot be made there.
    """
    run = make()
    with fuzz_progress(run.name, run.max_examples) as progress:
        ended = apart(_Run(make), run.name, limits, _Shown(progress))
    if not isinstance(ended.outcome, Returned):
        return ended_run_report(run, ended.outcome, ended.doing, ended.count, _line(run))
    report: Report = ended.outcome.value
    return report


@dataclass(slots=True)
class _Shown:
    """Shows in a notebook what the other process does."""

    progress: FuzzProgress | None
    last: str = ""

    def __call__(self, text: str, counts: tuple[int, ...]) -> None:
        if self.progress is None or not text:
            return
        steps, examples, found = counts
        self.progress.counted(examples, found)
        if text != self.last:
            self.last = text
            with suppress(ValueError, KeyError, InvalidArgument):  # it is being written
                self.progress.begins(steps, *logged_call(text))


def _line(run: FuzzRun) -> str:
    """The line of Python that makes the run again, in this process."""
    keywords = {"options": run.options, "reference": run.reference, "max_examples": run.max_examples, "order": run.order}
    keywords |= {"allow": run.allow, "wrt": run.wrt, "seed": run.seed}
    specs = [("spec", str(spec)) for spec in run.specs]
    return line_of(Call("gl.fuzz", [("op", run.op), *specs], given(keywords)), caller())
