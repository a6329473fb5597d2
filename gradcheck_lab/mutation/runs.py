"""Runs of collected tests in forks of their session: as they are, to see which run a backward, and on each edit of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType, FunctionType
from typing import Any

from gradcheck_lab.calls.case import copy_inputs
from gradcheck_lab.edits.applied import applied, functions_alive
from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.edits.written import Written
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import apart
from gradcheck_lab.model.mutants import Outcome
from gradcheck_lab.workers.apart import Limits
from gradcheck_lab.workers.outcome import Returned

_Key = tuple[str, str, int]  # file, qualified name and first line of a function
Made = tuple[tuple[Any, ...], dict[str, Any]]  # the positional and the keyword arguments of a call


@dataclass(frozen=True, slots=True)
class Tested:
    """How many tests run a backward, and what came of each edit of it, with the test that failed."""

    touching: int
    outcomes: tuple[tuple[Outcome, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Baseline:
    """A run without an edit: for each backward the tests that run it and a call of its forward, the failures, the time."""

    touching: tuple[frozenset[str], ...]
    calls: tuple[Made | None, ...]
    failed: tuple[str, ...]
    seconds: float


class Runs:
    """Runs tests of a session of pytest in forks of this process."""

    def __init__(self, config: Any) -> None:
        self.failed: list[str] = []
        config.pluginmanager.register(self)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the tests that fail."""
        if report.failed:
            self.failed.append(report.nodeid)

    def baseline(self, items: Sequence[Any], backwards: Sequence[Sequence[Written]]) -> Baseline:
        """Run all tests as they are. Raises `InvalidArgument` where they end their process."""
        ended = apart(lambda line: self._baseline(items, backwards), "the run of the tests", Limits(None))
        if not isinstance(ended.outcome, Returned):
            raise InvalidArgument(f"the tests {ended.outcome} without any edit; run them by themselves first")
        found: Baseline = ended.outcome.value
        return found

    def watched(self, items: Sequence[Any], backwards: Sequence[Sequence[Written]]) -> Baseline:
        """Run all tests as they are, in this process."""
        return self._baseline(items, backwards)

    def on_edits(self, items: Sequence[Any], edits: Sequence[Edit], seconds: float) -> Tested:
        """Run tests on each edit, until one fails; those that take longer than `seconds` are ended, and have noticed it."""
        among = functions_alive(edits[0].path) if edits else ()  # test modules are imported: what they define is alive
        outcomes = [
            _outcome(apart(lambda line, edit=edit: self._edited(edit, among, items), edit.function, Limits(seconds)).outcome)  # type: ignore[misc]
            for edit in edits
        ]
        return Tested(len(items), tuple(outcomes))

    def _baseline(self, items: Sequence[Any], backwards: Sequence[Sequence[Written]]) -> Baseline:
        silence()
        self.failed.clear()
        watch = _Watch(backwards)
        started = time.perf_counter()
        for item in each_run(items):
            watch.begin(item.nodeid)
        sys.setprofile(None)
        touching = tuple(map(frozenset, watch.touching))
        return Baseline(touching, tuple(watch.calls), tuple(self.failed), time.perf_counter() - started)

    def _edited(self, edit: Edit, among: Sequence[FunctionType], items: Sequence[Any]) -> tuple[Outcome, str]:
        silence()
        self.failed.clear()
        try:
            with applied(edit, among):
                for _ in each_run(items):
                    if self.failed:
                        return "noticed", self.failed[0]
        except InvalidArgument as error:
            return "invalid", str(error)
        return "missed", ""


def silence() -> None:
    """Write to standard output and error no more, in a process of its own."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(null, 1)
    os.dup2(null, 2)


def each_run(items: Sequence[Any]) -> Iterator[Any]:
    """Run tests one by one: each is given before it is run, and the last one once more afterwards."""
    for index, item in enumerate(items):
        yield item
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=items[index + 1] if index + 1 < len(items) else None)
    if items:
        yield items[-1]


def _outcome(outcome: Any) -> tuple[Outcome, str]:
    if not isinstance(outcome, Returned):
        return "noticed", f"the tests {outcome}"
    found: tuple[Outcome, str] = outcome.value
    return found


class _Watch:
    """Keeps for each backward the tests that call it, and a call of its forward."""

    def __init__(self, backwards: Sequence[Sequence[Written]]) -> None:
        self.touching: list[list[str]] = [[] for _ in backwards]
        self.calls: list[Made | None] = [None for _ in backwards]
        self.backwards: dict[_Key, list[int]] = {}
        self.forwards: dict[_Key, list[int]] = {}
        for index, functions in enumerate(backwards):
            for each in functions:
                self.backwards.setdefault(_key(each.function.__code__), []).append(index)
            forward = functions[0].forward if functions else None
            if forward is not None and functions[0].form != "layer":
                self.forwards.setdefault(_key(forward.__code__), []).append(index)
        self.paths = {path for path, _, _ in (*self.backwards, *self.forwards)}

    def begin(self, nodeid: str) -> None:
        """From here on, fixtures included, look at what is called."""

        def called(frame: FrameType, event: str, argument: object) -> None:
            if event != "call" or frame.f_code.co_filename not in self.paths:
                return
            key = _key(frame.f_code)
            for index in self.backwards.get(key, ()):
                self.touching[index].append(nodeid)
            for index in self.forwards.get(key, ()):
                if self.calls[index] is None:
                    self.calls[index] = _made(frame)

        sys.setprofile(called)


def _key(code: Any) -> _Key:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _made(frame: FrameType) -> Made:
    """The arguments of a call that begins; a context is none."""
    code, found = frame.f_code, frame.f_locals
    names = code.co_varnames[: code.co_argcount]
    start = 1 if names and names[0] in ("ctx", "context") else 0
    only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return copy_inputs([found[name] for name in names[start:]]), {name: found[name] for name in only}
