"""Whether the author's own tests notice an edited backward: pytest runs in a process of its own, on the tests that run it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from gradcheck_lab.edits.edit import Edit
from gradcheck_lab.edits.written import Written
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.shown import quoted
from gradcheck_lab.mutation.runs import Runs, Tested, silence


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
    code = run_pytest(arguments, plugin)
    if plugin.refused is not None:
        raise plugin.refused
    if plugin.found is None:
        raise InvalidArgument(f"{command_of(arguments)} ends with exit code {code} before any test; run it by itself first")
    return plugin.found


def command_of(arguments: Sequence[str]) -> str:
    """The command of a person."""
    return f"pytest {shlex.join(arguments)}".strip()


@dataclass(slots=True)
class _Mutating:
    """A plugin that runs the collected tests in forks of this process: as they are, and on each edit."""

    arguments: Sequence[str]
    written: Sequence[Written]
    edits: Sequence[Edit]
    seconds: float
    found: Tested | None = None
    refused: InvalidArgument | None = None

    def pytest_runtestloop(self, session: Any) -> bool:
        """All that pytest runs in this session."""
        try:
            self.found = self._run(session.items, Runs(session.config))
        except InvalidArgument as error:
            self.refused = error
        return True

    def _run(self, items: Sequence[Any], runs: Runs) -> Tested:
        command, name = command_of(self.arguments), self.written[0].name
        if not items:
            raise InvalidArgument(f"{command} collects no test; pass the arguments with which it runs yours")
        baseline = runs.baseline(items, [self.written])
        touching = baseline.touching[0]
        failed = [each for each in baseline.failed if each in touching]
        if failed:
            raise InvalidArgument(f"{failed[0]} fails without any edit of {name}; mend it, or leave it out with --deselect")
        if not touching:
            none = f"none of the {len(items)} tests of {command} runs {name} in its own process"
            raise InvalidArgument(f"{none}; pass those that do")
        return runs.on_edits([item for item in items if item.nodeid in touching], self.edits, baseline.seconds + self.seconds)


def run_pytest(arguments: Sequence[str], plugin: object) -> int:
    """Run pytest in this process, which is one of its own, without its output and without processes of xdist."""
    import pytest

    silence()
    alone = ["-n", "0"] if find_spec("xdist") is not None else []
    quiet = ["-p", "no:cacheprovider", "-p", "no:faulthandler", "-q"]
    return int(pytest.main([*arguments, *alone, *quiet], plugins=[plugin]))
