"""The observers of asserted reports. The pytest plugin is one, so that its summary says what was verified."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

# the last is that of the innermost test session, where a test runs pytest itself; only that one is called
observers: list[Callable[[Any], None]] = []
# where those sessions save what their failing tests need, if the user asks for that
failure_folders: list[Path | None] = []


def asserted(report: Any) -> None:
    """Pass a report that is asserted to the innermost observer."""
    if observers:
        observers[-1](report)
