"""Names in the user's code: of a function's inputs, and of the variables that a call's results are assigned to."""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FrameType, FunctionType
from typing import Any

_ENGINE = frozenset(
    f"gradcheck_lab.{name}"
    for name in (
        "rules.naming", "rules.op", "engine.arithmetic", "engine.operators", "engine.variable",
        "subjects.program", "subjects.op",
    )
)  # fmt: skip


def input_names(function: Callable[..., Any], count: int) -> tuple[str, ...]:
    """Return the names of the first `count` positional parameters of `function`, `args[2]` for variadic ones.

    >>> input_names(lambda x, *rest: x, 3)
    ('x', 'rest[0]', 'rest[1]')
    """
    parameters = _parameters(function) or ()
    names: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            start = len(names)
            names += [f"{parameter.name}[{i - start}]" for i in range(start, count)]
            break
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    names += [f"input_{i}" for i in range(len(names), count)]
    return tuple(names[:count])


def option_names(function: Callable[..., Any], inputs: int) -> tuple[str, ...] | None:
    """Return what `function` accepts as keywords after `inputs` positional arguments; None when it takes any."""
    parameters = _parameters(function)
    if parameters is None:
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD or p.kind is p.POSITIONAL_ONLY]
    free = [p.name for p in positional[inputs:] if p.kind is p.POSITIONAL_OR_KEYWORD]
    return tuple(free + [p.name for p in parameters if p.kind is p.KEYWORD_ONLY])


def takes_any_number(function: Callable[..., Any]) -> bool:
    """Whether `function` takes any number of positional arguments."""
    return any(parameter.kind is parameter.VAR_POSITIONAL for parameter in _parameters(function) or ())


def _parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...] | None:
    """The parameters of a function; None where they cannot be read. A plain function is read once."""
    if isinstance(function, FunctionType):
        return _read_once(function)
    return _read(function)


def _read(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...] | None:
    try:
        return tuple(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


_read_once = lru_cache(maxsize=256)(_read)


def assigned_names() -> tuple[str, ...]:
    """Return the variable names that the user's current call is about to be assigned to; empty when it is nested.

    They are read from the bytecode after the call, in the nearest frame outside the engine: `Z1 = linear(x, W, b)` gives `Z1`.
    The library `executing` would need the source of that frame, which code in `exec` or `python -c` does not have.
    `benchmarks/assigned_names.py` compares both.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in _ENGINE:
        frame = frame.f_back
    return _stores_after(frame.f_code, frame.f_lasti) if frame is not None else ()


@lru_cache(maxsize=4096)
def _stores_after(code: CodeType, offset: int) -> tuple[str, ...]:
    following = [i for i in dis.get_instructions(code) if i.offset > offset]
    if following and following[0].opname == "UNPACK_SEQUENCE":
        count, following = int(following[0].arg or 0), following[1:]
    else:
        count = 1
    names: list[str] = []
    for instruction in following:
        if len(names) >= count or not instruction.opname.startswith("STORE_"):
            break
        if instruction.opname in {"STORE_ATTR", "STORE_SUBSCR", "STORE_SLICE"}:
            break
        stored = instruction.argval
        if isinstance(stored, tuple):
            both_stored = instruction.opname == "STORE_FAST_STORE_FAST"
            names += list(stored) if both_stored else [stored[0]]
        else:
            names.append(str(stored))
    return tuple(names[:count])
