"""The refusal of an object that names do not tell how to read, before readings of it are looked for."""

from __future__ import annotations

from collections.abc import Sequence

from gradcheck_lab.errors import InvalidArgument


class Unread(InvalidArgument):
    """An object of which something cannot be told from its names: where a gradient is, or what its backward takes.

    `problem` says what, and `fix` what to write; `lost` are the arrays whose gradient was not found.
    """

    def __init__(self, problem: str, fix: str, lost: Sequence[str] = ()) -> None:
        super().__init__(f"{problem}; {fix}")
        self.problem, self.lost = problem, tuple(lost)
