"""Whether the author's own tests notice an edited backward: pytest runs in a process of its own, on the tests that run it."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import FrameType, FunctionType
from typing import Any

from gradcheck_lab.edits.applied import applied, functions_alive
from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.edits.written import Written
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.isolation import apart
from gradcheck_lab.model.mutants import Outcome
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.workers.apart import Limits
from gradcheck_lab.workers.outcome import Returned


@dataclass(frozen=True, slots=True)
class Baseline:
    """A run of the tests without an edit: those that run the backward, those that fail, how many there are, and their time."""

    touching: tuple[str, ...]
    failed: tuple[str, ...]
    collected: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Tested:
    """The run without an edit, and for each edit what came of it, with the test that failed."""

    baseline: Baseline
    outcomes: tuple[tuple[Outcome, str], ...] = ()


def arguments_of(tests: Any) -> tuple[str, ...]:
    """The arguments of pytest in "pytest -k linear tests/"; a list of them is taken as it is.

    Raises `InvalidArgument` for anything else.

    >>> arguments_of("pytest -k 'linear or relu' tests")
    ('-k', 'linear or relu', 'tests')
    """
    if isinstance(tests, str):
        try:
            words = shlex.split(tests)
        except ValueError as error:
            raise InvalidArgument(f"tests is {quoted(tests)}, which is no command ({error}); pass 'pytest tests/'") from None
    elif isinstance(tests, Collection) and all(isinstance(each, (str, os.PathLike)) for each in tests):
        words = [os.fspath(each) for each in tests]
    else:
        raise InvalidArgument(f"tests is {quoted(tests)}; pass a command such as 'pytest tests/', or a list of its arguments")
    for start in (["python", "-m", "pytest"], ["pytest"]):
        if words[: len(start)] == start:
            words = words[len(start) :]
    if find_spec("pytest") is None:
        raise InvalidArgument("tests are run by pytest, which is not installed; pip install pytest")
    return tuple(words)


def tested(arguments: Sequence[str], written: Sequence[Written], edits: Sequence[Edit], seconds: float) -> Tested:
    """Collect the tests, run them as they are, and then on each edit those that run the backward, until one fails.

    To be called in a process of its own, of which each run is a fork. A run on an edit may take `seconds` longer than the one
    without. Raises `InvalidArgument` where a test fails without an edit, or none runs the backward.
    """
    plugin = _Mutating(arguments, written, edits, seconds)
    code = _pytest(arguments, plugin)
    if plugin.refused is not None:
        raise plugin.refused
    if plugin.found is None:
        raise InvalidArgument(f"{_command(arguments)} ends with exit code {code} before any test; run it by itself first")
    return plugin.found


def _command(arguments: Sequence[str]) -> str:
    return f"pytest {shlex.join(arguments)}".strip()


@dataclass(slots=True)
class _Mutating:
    """Runs the collected tests in forks of this process: as they are, and on each edit."""

    arguments: Sequence[str]
    written: Sequence[Written]
    edits: Sequence[Edit]
    seconds: float
    found: Tested | None = None
    refused: InvalidArgument | None = None
    failed: list[str] = field(default_factory=list)

    def pytest_collectreport(self, report: Any) -> None:
        """Keep the files that cannot be imported."""
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the tests that fail."""
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_runtestloop(self, session: Any) -> bool:
        """All that pytest runs in this session."""
        try:
            self.found = self._run(session.items)
        except InvalidArgument as error:
            self.refused = error
        return True

    def _run(self, items: Sequence[Any]) -> Tested:
        name = self.written[0].name
        ended = apart(lambda line: self._baseline(items), name, Limits(None))
        if not isinstance(ended.outcome, Returned):
            raise InvalidArgument(f"{_command(self.arguments)} {ended.outcome} without any edit; run it by itself first")
        found: Baseline = ended.outcome.value
        self._refuse(found, name)
        touching = [item for item in items if item.nodeid in found.touching]
        limits = Limits(found.seconds + self.seconds)
        among = functions_alive(self.written[0].path)  # test modules are imported: what they define is alive
        outcomes = [
            _outcome(apart(lambda line, edit=edit: self._edited(edit, among, touching), name, limits).outcome)  # type: ignore[misc]
            for edit in self.edits
        ]
        return Tested(found, tuple(outcomes))

    def _refuse(self, found: Baseline, name: str) -> None:
        if not found.collected:
            raise InvalidArgument(f"{_command(self.arguments)} collects no test; pass the arguments with which it runs yours")
        failed = [each for each in found.failed if each in found.touching]
        if failed:
            raise InvalidArgument(f"{failed[0]} fails without any edit of {name}; mend it, or leave it out with --deselect")
        if not found.touching:
            raise InvalidArgument(
                f"none of the {found.collected} tests of {_command(self.arguments)} runs {name} in its own process; "
                "pass those that do"
            )

    def _baseline(self, items: Sequence[Any]) -> Baseline:
        watch = _Watch(self.written)
        started = time.perf_counter()
        for item in _run_each(items):
            watch.begin(item.nodeid)
        sys.setprofile(None)
        return Baseline(tuple(watch.touching), tuple(self.failed), len(items), time.perf_counter() - started)

    def _edited(self, edit: Edit, among: Sequence[FunctionType], items: Sequence[Any]) -> tuple[Outcome, str]:
        known = len(self.failed)
        try:
            with applied(edit, among):
                for _ in _run_each(items):
                    if len(self.failed) > known:
                        break
        except InvalidArgument as error:
            return "invalid", str(error)
        return ("noticed", self.failed[known]) if len(self.failed) > known else ("missed", "")


def _run_each(items: Sequence[Any]) -> Iterator[Any]:
    """Run tests one by one: each is given before it is run, and the last is followed by the end."""
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
    """Keeps the tests that call one of the functions of a backward."""

    def __init__(self, written: Sequence[Written]) -> None:
        codes = [(each.path, each.function.__code__) for each in written]
        self.functions = {(path, code.co_qualname, code.co_firstlineno) for path, code in codes}
        self.paths = {path for path, _ in codes}
        self.touching: list[str] = []

    def begin(self, nodeid: str) -> None:
        """From here on, fixtures included, look at what is called."""

        def called(frame: FrameType, event: str, argument: object) -> None:
            code = frame.f_code
            if event != "call" or code.co_filename not in self.paths:
                return
            if (code.co_filename, code.co_qualname, code.co_firstlineno) in self.functions:
                self.touching.append(nodeid)
                sys.setprofile(None)

        sys.setprofile(called)


def _pytest(arguments: Sequence[str], plugin: object) -> int:
    """Run pytest in this process, which is one of its own, without its output and without processes of xdist."""
    import pytest

    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(null, 1)
    os.dup2(null, 2)
    alone = ["-n", "0"] if find_spec("xdist") is not None else []
    quiet = ["-p", "no:cacheprovider", "-p", "no:faulthandler", "-q"]
    return int(pytest.main([*arguments, *alone, *quiet], plugins=[plugin]))
