"""Functions of this process that stand for those of another: with their signatures, and without a source to read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def without_source(name: str, called: Callable[..., Any]) -> Callable[..., Any]:
    """A function of this name with no source to read: what it does is done elsewhere."""
    space: dict[str, Any] = {"called": called}
    exec(f"def {name}(*arguments, **keywords): return called(*arguments, **keywords)", space)
    made: Callable[..., Any] = space[name]
    return made


def signature_of(parameters: Any) -> inspect.Signature:
    """The signature that a process says a function has. Raises `ValueError`, `TypeError` or `AttributeError` for none."""
    if parameters is None:
        return inspect.Signature([inspect.Parameter("arguments", inspect.Parameter.VAR_POSITIONAL)])
    found = []
    for name, needed, kind in parameters:
        default = inspect.Parameter.empty if needed else None  # what it is is known there
        found.append(inspect.Parameter(str(name), getattr(inspect.Parameter, str(kind)), default=default))
    return inspect.Signature(found)
