"""The refusal of an object that names do not tell how to read, before readings of it are looked for."""

from __future__ import annotations

from collections.abc import Sequence

from gradcheck_lab.errors import InvalidArgument


class Unread(InvalidArgument):
    """An object of which something cannot be told from its names: where a gradient is, or what its backward takes.

    `lost` are the arrays whose gradient was not found.
    """

    def __init__(self, message: str, lost: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.lost = tuple(lost)
