"""Lines of the user's source that a finding is about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceLines:
    """Lines of a file from the number `first` on; `blamed` are the numbers of those that make the wrong gradient."""

    first: int
    lines: tuple[str, ...]
    blamed: tuple[int, ...] = ()
