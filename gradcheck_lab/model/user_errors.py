"""What the user's code raised, as findings: its first line, and the traceback without this package's own frames."""

from __future__ import annotations

import re
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradcheck_lab.model.exceptions import Contained
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import TRACEBACK_FRAMES
from gradcheck_lab.model.places import shown_path

_FRAME = re.compile(r'^  File "(.*)", line (\d+), in (.*)\n(?:    (.*)\n)?', re.MULTILINE)
_LIBRARIES = tuple(dict.fromkeys(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")))
_ENGINE = tuple(
    str(Path(__file__).parent.parent / name)
    for name in ("calls", "comparison", "distributed", "engine", "examination", "oracles", "probes", "rules", "subjects")
)


class RaisedElsewhere(Exception):
    """The user's code raised in another process; `told` is the traceback there."""

    def __init__(self, message: str, told: str) -> None:
        super().__init__(message)
        self.told = told


def wrong_count(returned: Sequence[Any], inputs: int, op: str | None) -> Finding:
    """The finding for a backward that returned another number of gradients than there are inputs."""
    none = len(returned) == 1 and returned[0] is None
    return Finding(
        "gradient-count",
        "error",
        f"backward returned {'None' if none else f'{len(returned)} gradients'} for {inputs} inputs",
        explanation=f"returned {None if none else len(returned)} for {inputs} inputs",
        suggestion="return one gradient per input, in order, None where not differentiable",
        op=op,
    )


def user_traceback(error: BaseException) -> str:
    """The traceback without this package's frames; all frames where no other is left."""
    if isinstance(error, RaisedElsewhere):
        return error.told
    frames = traceback.extract_tb(error.__traceback__)
    shown = [frame for frame in frames if not frame.filename.startswith(_ENGINE)] or list(frames)
    return "".join(traceback.format_list(shown) + traceback.format_exception_only(error))


def users_frames(text: str) -> list[str]:
    """The frames of a traceback that are of no library, a line each: `file.py:3, in backward: return g * w`.

    >>> users_frames('  File "a.py", line 3, in backward\\n    return g * w\\n    ^^^^^^\\nValueError: no\\n')
    ['a.py:3, in backward: return g * w']
    """
    frames = []
    for file, line, function, code in _FRAME.findall(text):
        if not file.startswith(_LIBRARIES):
            frames.append(f"{shown_path(file)}:{line}, in {function}{f': {code.strip()}' if code.strip() else ''}")
    return frames[-TRACEBACK_FRAMES.value :]


def last_users_line(text: str) -> str:
    """The file and line of the last frame of a traceback that is of no library and not of this package; empty for none."""
    own = [(file, line) for file, line, _, _ in _FRAME.findall(text) if not file.startswith((*_LIBRARIES, *_ENGINE, "<"))]
    return f"{shown_path(own[-1][0])}:{own[-1][1]}" if own else ""


def text_of(error: BaseException) -> str:
    """The message of an exception, stripped; empty where it has none, or where its own `__str__` raises."""
    try:
        with Contained():
            return str(error).strip()
    except Exception:
        return ""


def first_line(error: BaseException, otherwise: str | None = None) -> str:
    """The first line of an exception's message; `otherwise`, or the name of its class, where it has none.

    >>> first_line(ValueError("no such axis\\nhere")), first_line(ValueError())
    ('no such axis', 'ValueError')
    """
    lines = text_of(error).splitlines()
    return lines[0] if lines else otherwise or type(error).__name__


def class_and_line(error: BaseException) -> str:
    """The class of an exception and the first line of its message.

    >>> class_and_line(ValueError("no such axis")), class_and_line(ValueError())
    ('ValueError: no such axis', 'ValueError: no message')
    """
    return f"{type(error).__name__}: {first_line(error, 'no message')}"
