"""Where code stands, as `file:line` that an editor or a terminal opens: of a `def`, a lambda, or an object that is called."""

from __future__ import annotations

import inspect
import linecache
import os
import re
from collections.abc import Iterable
from functools import partial
from types import CodeType
from typing import Any

from gradcheck_lab.model.exceptions import Contained


def places_of(functions: Iterable[Any]) -> str:
    """The places of several functions, each once, for a reader; empty where none is known.

    >>> places_of([len, dict.get])
    ''
    """
    return ", ".join(dict.fromkeys(place for place in map(place_of, functions) if place))


def place_of(function: Any) -> str:
    """The file and line in which a function is defined, the file from the current directory where it lies beneath that.

    Empty where there is no such file: for built-in functions, and for code of a notebook's cell or of `exec`.
    """
    try:
        with Contained():
            code = _code_of(function)
            if code is None or not os.path.isfile(code.co_filename):
                return ""
            return f"{shown_path(code.co_filename)}:{_line_of(code)}"
    except Exception:  # an object whose attributes cannot be read, or no current directory
        return ""


def _code_of(function: Any) -> CodeType | None:
    if isinstance(function, partial):
        return _code_of(function.func)
    function = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(function, "__code__", None)
    if code is None and not inspect.isroutine(function) and not isinstance(function, type):
        return _code_of(vars(type(function))["__call__"])
    return code if isinstance(code, CodeType) else None


def _line_of(code: CodeType) -> int:
    """The line of `def`: the code of a decorated function begins with its first decorator."""
    if code.co_name == "<lambda>":
        return code.co_firstlineno
    definition = re.compile(rf"\s*(async\s+)?def\s+{re.escape(code.co_name)}\b")
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    skipped = next((number for number, line in enumerate(lines) if definition.match(line)), 0)
    return code.co_firstlineno + skipped


def shown_path(path: str) -> str:
    """A path from the current directory where it lies beneath that, else the whole one."""
    whole, folder = os.path.abspath(path), os.getcwd()
    return os.path.relpath(whole, folder) if whole.startswith(os.path.join(folder, "")) else whole
