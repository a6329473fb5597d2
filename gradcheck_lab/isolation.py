"""A check in a process of its own: its end, by itself, by time or by memory, is a finding beside what was known until then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.arguments import is_number
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.conversion import as_data, from_dict
from gradcheck_lab.model.environment import environment
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.raised import lost_device
from gradcheck_lab.model.shown import one_line, quoted
from gradcheck_lab.model.watching import AS_GIVEN, Watch, watches
from gradcheck_lab.report import Report
from gradcheck_lab.workers.apart import CannotStart, Ended, Limits, Line, Looked, run_apart
from gradcheck_lab.workers.memory import CAN_LIMIT
from gradcheck_lab.workers.messages import NoMessage, pack, read_as, unpack
from gradcheck_lab.workers.outcome import LostDevice, MemoryExceeded, Outcome, Raised, Returned, TimedOut, Unreadable


@dataclass(frozen=True, slots=True)
class Subjected:
    """What is checked in another process: what its report says of it where nothing came back."""

    name: str
    seed: int
    command: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back of a call: its report, or what it refused, None for nothing; and whether the user interrupted it."""

    report: Report | None
    refused: str | None = None
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class _Check:
    """The call in the other process; pickled where that is not a fork of this one."""

    call: Callable[[], Report]

    def __call__(self, line: Line) -> Answer:
        watches[:] = [Watch(line.doing, line.known)]
        try:
            return Answer(self.call())
        except InvalidArgument as error:
            return Answer(None, refused=str(error))
        except KeyboardInterrupt:
            return Answer(None, interrupted=True)


# the code that makes data of these classes is made once, by whoever does so first: here, and in no process that is forked
_NOTHING = Answer(Report("inconclusive", "", "", (), (), "none"))


def limits_of(isolate: Any, timeout: Any, memory_limit: Any) -> Limits | None:
    """The limits of a call in a process of its own, None for a call in this one. Raises `InvalidArgument`."""
    if isolate is not None and type(isolate) is not bool:
        raise InvalidArgument(f"isolate is {quoted(isolate)}; pass True or False")
    refuse_timeout(timeout)
    if memory_limit is not None and (type(memory_limit) is not int or memory_limit < 1):
        raise InvalidArgument(f"memory_limit is {quoted(memory_limit)}; pass a whole number of bytes above 0")
    if memory_limit is not None and not CAN_LIMIT:
        raise InvalidArgument("memory_limit is for Linux; leave it out on this system")
    limited = timeout is not None or memory_limit is not None
    if limited and isolate is False:
        raise InvalidArgument("timeout and memory_limit are for a process of its own; leave isolate=False out")
    return Limits(timeout, memory_limit) if limited or isolate else None


def refuse_timeout(timeout: Any) -> None:
    """Raise `InvalidArgument` for anything but a number of seconds above 0, and None."""
    if timeout is not None and not (is_number(timeout) and 0 < timeout < float("inf")):
        raise InvalidArgument(f"timeout is {quoted(timeout)}; pass a number of seconds above 0")


def isolated(call: Callable[[], Report], subject: Subjected, limits: Limits) -> Report:
    """The report of a call that is made in a process of its own.

    Raises `InvalidArgument` and `KeyboardInterrupt` as the call does, and `InvalidArgument` where it cannot be made there.
    """
    ended = apart(_Check(call), subject.name, limits)
    if isinstance(ended.outcome, Returned):
        report: Report = ended.outcome.value
        return report
    return ended_report(known_report(ended.known), subject, ended.outcome, ended.doing)


def apart(function: Callable[[Line], Answer], name: str, limits: Limits, looked: Looked = lambda text, counts: None) -> Ended:
    """Call a function in a process of its own, and return its report; raise here what it refuses and the user's interrupt."""
    as_data(_NOTHING)
    ended = apart_as(Answer, function, name, limits, looked)
    if not isinstance(ended.outcome, Returned):
        return ended
    answer: Answer = ended.outcome.value
    if answer.refused is not None:
        raise InvalidArgument(answer.refused)
    if answer.report is None:
        raise KeyboardInterrupt
    return replace(ended, outcome=Returned(answer.report))


def apart_as(
    kind: type[Any], function: Callable[[Line], Any], name: str, limits: Limits, looked: Looked = lambda text, counts: None
) -> Ended:
    """Call a function in a process of its own, which returns a dataclass of this kind. Raises `InvalidArgument`."""
    try:
        ended = run_apart(function, limits, looked)
    except CannotStart as error:
        raise InvalidArgument(
            f"{name} cannot be checked in a process of its own ({one_line(str(error))}); define it at the top of a module, "
            'keep calls of a script under if __name__ == "__main__":, or leave isolate, timeout and memory_limit out'
        ) from error
    outcome = read_as(ended.outcome, kind)
    if isinstance(outcome, Raised):
        raise RuntimeError(f"gradcheck_lab itself {outcome}; please report it\n{outcome.traceback}")
    return replace(ended, outcome=outcome)


def write_known(path: Path, report: Report) -> None:
    """Write what is known of a check to a file, whole or not at all; nothing where it cannot be written."""
    beside = path.with_suffix(".new")
    with suppress(OSError):
        beside.write_bytes(pack(report))
        beside.replace(path)


def read_known(path: Path) -> Report | None:
    """The report that `write_known` wrote; None for no ordinary file, and for one that holds no report."""
    try:
        return known_report(unpack(path.read_bytes())) if path.is_file() else None
    except (OSError, NoMessage):
        return None


def known_report(data: Any) -> Report | None:
    """The report of what is known, as data; None for what is no report. One that has only begun need not be consistent."""
    with suppress(InvalidArgument):
        return from_dict(data, Report, "the report")
    return None


def ended_report(known: Report | None, subject: Subjected, outcome: Outcome, doing: str) -> Report:
    """The report of a call whose process ended early: what is known of it, and the finding how it ended."""
    finding = ended_finding(outcome, doing or AS_GIVEN)
    if known is None:
        return Report(
            "fail", subject.name, "op", (), (finding,), "none", seed=subject.seed, reproduce=subject.command,
            environment=environment(),
        )  # fmt: skip
    finding = replace(finding, location=finding.location or known.location)
    reasons = known.reasons if known.gradients or known.findings else ()
    return replace(known, verdict="fail", findings=(finding, *known.findings), reasons=reasons)


def ended_finding(outcome: Outcome, doing: str, probe: str = "comparison") -> Finding:
    """The finding that the process of a call ended; `doing` names the call, as the start of a sentence."""
    if isinstance(outcome, LostDevice):
        return lost_device(outcome.error, outcome.doing or doing, outcome.how, probe)
    cause, sent = _cause(outcome), isinstance(outcome, Unreadable)
    not_to = "write where its process sends results" if sent else "end, hold up or fill the process that makes it"
    return Finding(
        cause,
        "error",
        f"{doing} {one_line(str(outcome))}",
        explanation=f"a call may raise an exception, but not {not_to}",
        suggestion="leave alone the pipes that the process had before the call" if sent else CAUSES[cause].fix,
        probe=probe,
    )


def _cause(outcome: Outcome) -> str:
    if isinstance(outcome, TimedOut):
        return "timed-out"
    return "memory-exceeded" if isinstance(outcome, MemoryExceeded) else "crashed"
