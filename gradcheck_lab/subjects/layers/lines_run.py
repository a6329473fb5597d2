"""How many lines of the user's code a call runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

_NOT_THE_USERS = frozenset({"numpy", "scipy", "torch", "copy", "gradcheck_lab", "contextlib", "abc"})


class _Enough(BaseException):
    """Ends a call whose lines were counted; no handler of the user's takes it."""


def lines_run(call: Callable[[], object], most: int) -> int:
    """The lines that a call runs outside of NumPy and torch: it is ended once they are more than `most`.

    Nothing is counted, 0, where a debugger or a coverage tool counts lines itself.
    """
    if sys.gettrace() is not None:
        return 0
    count = 0

    def of_line(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        if count > most:
            raise _Enough
        return of_line

    def of_call(frame: FrameType, event: str, argument: object) -> Any:
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        return None if module in _NOT_THE_USERS else of_line

    sys.settrace(of_call)
    try:
        with contextlib.suppress(Exception, _Enough):  # what the user's code raises is reported where it is checked
            call()
    finally:
        sys.settrace(None)
    return count
