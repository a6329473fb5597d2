"""Who is told of every report that is asserted: the test runner's plugin, so that it can say what was verified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# a test session within a test session (a plugin's own tests) is the last one, and alone is told
observers: list[Callable[[Any], None]] = []


def asserted(report: Any) -> None:
    """Tell the innermost observer that `report` is about to decide whether a test passes."""
    if observers:
        observers[-1](report)
