"""What the user calls a value: the variable that holds it where the check was called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType, MethodType
from typing import Any


def name_in_use(value: Any, otherwise: str) -> str:
    """The variable that holds this very value where this package was called, `net.loss` for a method of one.

    A function or class is called by its own name where that leads to it. `otherwise` where nothing does.
    """
    owner = getattr(value, "__self__", None)
    if isinstance(value, MethodType):
        return f"{name_in_use(owner, type(owner).__name__)}.{value.__name__}"
    own = str(getattr(value, "__name__", ""))
    spaces = spaces_in_use()
    if own and any(space.get(own) is value for space in spaces):
        return own
    for space in spaces:
        for name, held in list(space.items()):
            if held is value and name.isidentifier() and not name.startswith("_"):
                return name
    return _attribute(value) or (own if own.isidentifier() else otherwise)


def input_names_in_use(inputs: Sequence[Any], names: Sequence[str]) -> list[str]:
    """What the user calls the inputs of a call, a small number as it is written, and else the parameters' names."""
    found = [
        repr(v) if isinstance(v, (int, float, str, bool)) and not hasattr(v, "dtype") else name_in_use(v, "") or name
        for v, name in zip(inputs, names, strict=True)
    ]
    return [word if word else f"input_{k}" for k, word in enumerate(found)]


def _attribute(value: Any) -> str | None:
    """`Linear.forward` for a static method, where the class is found by its name."""
    path = str(getattr(value, "__qualname__", "")).rpartition("<locals>.")[2].split(".")
    if len(path) != 2:
        return None
    for space in spaces_in_use():
        if getattr(space.get(path[0]), path[1], None) is value:
            return ".".join(path)
    return None


def spaces_in_use() -> list[dict[str, Any]]:
    """The variables of the frame that called this package, the local ones first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in ("gradcheck_lab", "contextlib"):
        frame = frame.f_back
    return [] if frame is None else [dict(frame.f_locals), frame.f_globals]
