"""A case in a worker process."""

from __future__ import annotations

import time
from dataclasses import dataclass

from gradcheck_lab.campaigns.cases import Case, CheckCase, Finished
from gradcheck_lab.campaigns.lanes import Lanes
from gradcheck_lab.isolation import Subjected
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.report import Report
from gradcheck_lab.workers.apart import Limits
from gradcheck_lab.workers.outcome import Outcome
from gradcheck_lab.workers.pool import Call


@dataclass(frozen=True, slots=True)
class SentCase:
    """What a worker sends of a case: its report, or why there is none, and the seconds that it took."""

    report: Report | None
    why: str
    seconds: float


def call_of(case: Case, check: CheckCase, lanes: Lanes, lane: int) -> Call:
    """The call that checks a case, in a process that has imported no other module than that of the case."""
    return lanes.call(lane, _check, (case, check), _limits(case), case.module)


def finished_of(case: Case, outcome: Outcome, lanes: Lanes, lane: int) -> Finished:
    """What came of that call: the worker's answer, or a report that says how its process ended. The lane is free then."""
    found = lanes.result(lane, outcome, SentCase, Subjected(case.name, case.seed, ""), _limits(case))
    if isinstance(found, Report):
        return Finished(case, found.to_dict(), "", lanes.seconds(lane))
    return Finished(case, None if found.report is None else found.report.to_dict(), found.why, found.seconds)


def _limits(case: Case) -> Limits:
    return Limits(case.timeout, case.memory)


def _check(case: Case, check: CheckCase) -> SentCase:
    began = time.monotonic()
    answer = check(case)
    return SentCase(answer.report, one_line(answer.why), time.monotonic() - began)
