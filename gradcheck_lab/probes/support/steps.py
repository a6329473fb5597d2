"""How many lines of Python the user's code runs for a call: they grow with an axis that it loops over."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gradcheck_lab.subjects.run_lines.watch import Watch


class Lines:
    """A count of the lines of the user's files that ran; 0 where a debugger or a coverage tool watches them."""

    def __init__(self) -> None:
        self.count = 0
        self._files = Watch()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the lines that run within the block."""
        free = sys.gettrace() is None
        if free:
            sys.settrace(self._begin)
        try:
            yield
        finally:
            if free:
                sys.settrace(None)

    def _begin(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if self._files.is_users(frame.f_code.co_filename) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.count += event == "line"
        return self._line
