"""A fuzz run in a process of its own: the call in which that ends, by itself, by time or by memory, is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.fuzzing.call_log import CallLog, ended_run_report
from gradcheck_lab.fuzzing.run import FuzzRun
from gradcheck_lab.isolation import Refused, apart
from gradcheck_lab.model.watching import Watch, watches
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

    def __call__(self, line: Line) -> tuple[Report, bool] | Refused:
        watches[:] = [Watch(lambda text: None)]
        log = CallLog(line.doing)

        def before_call(call: Any, probed: bool) -> None:
            line.began()
            log.before_call(call, probed)

        try:
            log.run = run = self.make(on_example=lambda examples, wrong: line.count(examples), before_call=before_call)
            report = run.run()
        except InvalidArgument as error:
            return Refused(str(error))
        return report, run.interrupted


def fuzz_apart(make: MakeRun, limits: Limits) -> Report:
    """The report of a run in a process of its own; the seconds of `limits` are those of one drawn call, with all derived calls.

    Raises `InvalidArgument` as the run does, and where it cannot be made there.
    """
    run = make()
    ended = apart(_Run(make), run.name, limits)
    if not isinstance(ended.outcome, Returned):
        return ended_run_report(run, ended.outcome, ended.doing, ended.count, _line(run))
    report: Report = ended.outcome.value[0]
    return report


def _line(run: FuzzRun) -> str:
    """The line of Python that makes the run again, in this process."""
    keywords = {"options": run.options, "reference": run.reference, "max_examples": run.max_examples, "order": run.order}
    keywords |= {"allow": run.allow, "wrt": run.wrt, "seed": run.seed}
    specs = [("spec", str(spec)) for spec in run.specs]
    return line_of(Call("gl.fuzz", [("op", run.op), *specs], given(keywords)), caller())
