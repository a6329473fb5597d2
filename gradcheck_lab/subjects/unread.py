"""The refusal of an object that names do not tell how to read, before readings of it are looked for."""

from __future__ import annotations

from gradcheck_lab.errors import InvalidArgument


class Unread(InvalidArgument):
    """An object of which something cannot be told from its names: where a gradient is, or what its backward takes."""
