"""Watches the user's code while a check runs it: `sys.monitoring` where Python has it, else `sys.settrace` within its runs.

Nothing is watched where a debugger or a coverage tool does so already. A line that has shown all it can costs nothing more.
"""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.subjects.run_lines.function import Function

_NOT_THE_USERS = tuple(
    os.path.join(os.path.realpath(path), "")
    for path in (
        os.path.dirname(os.path.dirname(os.path.dirname(__file__))),
        os.path.dirname(torch.__file__),
        os.path.dirname(np.__file__),
        sysconfig.get_paths()["stdlib"],
        sysconfig.get_paths()["purelib"],
    )
)
_TOOLS = (4, 3, 5)  # ids of `sys.monitoring` that no kind of tool is meant to take, and the profilers' last
_MONITORING: Any = getattr(sys, "monitoring", None)


class Watch:
    """The functions of the user that ran, and what of them did; `finished` once all calls of a check were made.

    `stages` are what was run of the user's code, as "forward" and "backward".
    """

    def __init__(self) -> None:
        self.functions: dict[CodeType, Function | None] = {}
        self.stages: set[str] = set()
        self.finished = False
        self.depth = 0
        self._accepted: set[str] = set()

    def is_open(self, stage: str) -> bool:
        """Whether anything is missing yet; before a stage ran, all of it is."""
        return stage not in self.stages or any(each.is_open for each in self.functions.values() if each is not None)

    def begins(self, frame: FrameType) -> Function | None:
        """The function whose code begins to run; None for code that is not the user's."""
        code = frame.f_code
        if code not in self.functions:
            self.functions[code] = Function(code) if self._is_asked_for(frame) else None
        return self.functions[code]

    def _is_asked_for(self, frame: FrameType) -> bool:
        """Whether code is the user's: in a file that this package, torch or Python called, not in a module used by that."""
        file = frame.f_code.co_filename
        if not self.is_users(file) or not linecache.getlines(file, frame.f_globals):
            return False
        caller = frame.f_back.f_code.co_filename if frame.f_back is not None else ""
        if file not in self._accepted and self.is_users(caller):
            return False
        self._accepted.add(file)
        return True

    def is_users(self, file: str) -> bool:
        """Whether a file is neither this package's nor torch's, NumPy's, Python's or an installed one."""
        return _is_users(file)


@lru_cache(maxsize=4096)
def _is_users(file: str) -> bool:
    return not file.startswith("<frozen") and not os.path.realpath(file).startswith(_NOT_THE_USERS)


_current: list[Watch] = []


def _can_see(inputs: Sequence[Any]) -> bool:
    """Whether a backward is seen in whatever thread torch runs it: that of another device has one of its own."""
    return _MONITORING is not None or all(v.device.type == "cpu" for v in inputs if isinstance(v, torch.Tensor))


def current() -> Watch | None:
    """The watch of the check that runs; None where nothing is watched."""
    return _current[-1] if _current else None


@contextmanager
def watched(wanted: bool, inputs: Sequence[Any] = ()) -> Iterator[Watch | None]:
    """Watch the user's code for a block, where that disturbs nobody."""
    if not wanted or sys.gettrace() is not None or _current or not _can_see(inputs):
        yield None
        return
    watch = Watch()
    with _monitored(watch) as allowed:
        if not allowed:
            yield None
            return
        _current.append(watch)
        try:
            yield watch
        finally:
            _current.remove(watch)


class running:
    """A block that runs a stage of the user's code, as its forward: within it, what is watched is seen."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def __enter__(self) -> None:
        self._watch, self._traces = current(), False
        if self._watch is not None and (self._watch.depth or not self._watch.is_open(self._stage)):
            self._watch = None
        if self._watch is not None:
            self._watch.stages.add(self._stage)
            self._watch.depth += 1
            self._traces = _MONITORING is None and sys.gettrace() is None
            if self._traces:
                sys.settrace(_tracer(self._watch))

    def __exit__(self, *raised: object) -> None:
        if self._watch is not None:
            self._watch.depth -= 1
            if self._traces:
                sys.settrace(None)


def _tracer(watch: Watch) -> Any:
    functions = watch.functions

    def of_line(frame: FrameType, event: str, argument: object) -> Any:
        function = functions[frame.f_code]
        if event == "line" and function is not None:
            function.runs(frame.f_lineno, frame)
        return of_line

    def of_call(frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        function = functions[code] if code in functions else watch.begins(frame)
        return of_line if function is not None and function.is_open else None

    return of_call


@contextmanager
def _monitored(watch: Watch) -> Iterator[bool]:
    """Watch by `sys.monitoring` for a block, where Python has it; whether watching is possible."""
    if _MONITORING is None:
        yield True
        return
    tool = next((each for each in _TOOLS if _MONITORING.get_tool(each) is None), None)
    if tool is None or _MONITORING.get_tool(_MONITORING.COVERAGE_ID) or _MONITORING.get_tool(_MONITORING.DEBUGGER_ID):
        yield False
        return
    events, disabled = _MONITORING.events, _MONITORING.DISABLE

    def of_start(code: CodeType, offset: int) -> Any:
        if not watch.is_users(code.co_filename):
            return disabled
        if not watch.depth:  # the user's own test or script, or a reference
            return None
        if watch.begins(sys._getframe(1)) is not None:
            _MONITORING.set_local_events(tool, code, events.LINE)
        return disabled

    def of_line(code: CodeType, line: int) -> Any:
        function = watch.functions.get(code)
        more = function is not None and function.runs(line, sys._getframe(1))
        return None if more else disabled

    _MONITORING.use_tool_id(tool, "gradcheck_lab")
    try:
        _MONITORING.register_callback(tool, events.PY_START, of_start)
        _MONITORING.register_callback(tool, events.LINE, of_line)
        _MONITORING.set_events(tool, events.PY_START)
        _MONITORING.restart_events()
        yield True
    finally:
        _MONITORING.set_events(tool, 0)
        for code in watch.functions:
            _MONITORING.set_local_events(tool, code, 0)
        for event in (events.PY_START, events.LINE):
            _MONITORING.register_callback(tool, event, None)
        _MONITORING.free_tool_id(tool)
