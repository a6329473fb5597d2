"""Checks of arguments that several public functions share."""

from __future__ import annotations

from collections.abc import Collection

from gradcheck_lab.errors import InvalidArgument


def refuse_names(argument: str, given: Collection[str], known: Collection[str]) -> None:
    """Raise `InvalidArgument` for a string in the place of a set, and for names that are not known."""
    if isinstance(given, str):
        raise InvalidArgument(f"{argument} is a string; pass a set: {argument}={{{given!r}}}")
    for item in given:
        if item not in known:
            raise InvalidArgument(f"{argument} names {item!r}, which is unknown; known: {', '.join(sorted(known))}")
