"""Checks of arguments that several public functions share."""

from __future__ import annotations

from collections.abc import Collection

from gradcheck_lab.errors import InvalidArgument


def refuse_names(argument: str, names: Collection[str], known: Collection[str]) -> None:
    """Raise `InvalidArgument` for a string instead of a set, and for names that are not in `known`."""
    if isinstance(names, str):
        raise InvalidArgument(f"{argument} is a string; pass a set: {argument}={{{names!r}}}")
    for item in names:
        if item not in known:
            raise InvalidArgument(f"{argument} names {item!r}, which is unknown; known: {', '.join(sorted(known))}")
