"""Checks of arguments that several public functions share; each raises `InvalidArgument` with the fix."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.exceptions import Contained
from gradcheck_lab.model.shown import cut, one_line, quoted
from gradcheck_lab.model.user_errors import class_and_line

Wrt = Collection[str | int] | str | int  # inputs by name or position

_SEEDS = 2**62  # a quarter of what torch's generators take, so that what is added to a seed gives a seed too


def refuse_names(argument: str, names: Any, known: Collection[str]) -> None:
    """Raise `InvalidArgument` for anything but a set, list or tuple of names that are in `known`."""
    if isinstance(names, str):
        raise InvalidArgument(f"{argument} is a string; pass a set: {argument}={{{one_line(repr(names))}}}")
    if not isinstance(names, Collection):
        raise InvalidArgument(f"{argument} is {quoted(names)}; pass a set of names, or () for none")
    for item in names:
        if not isinstance(item, str) or item not in known:
            raise InvalidArgument(f"{argument} names {quoted(item)}, which is unknown; known: {', '.join(sorted(known))}")


def seed_of(value: Any) -> int:
    """The seed as an int of Python. Raises `InvalidArgument` for anything but a whole number that torch takes."""
    if isinstance(value, bool) or not hasattr(type(value), "__index__") or getattr(value, "shape", ()) != ():
        raise InvalidArgument(f"seed is {quoted(value)}; pass a whole number")
    try:
        seed = value.__index__()
    except Exception:
        raise InvalidArgument(f"seed is {quoted(value)}; pass a whole number") from None
    if not -_SEEDS < seed < _SEEDS:
        raise InvalidArgument(f"seed is {quoted(value)}; pass a whole number of at most 62 bits")
    return int(seed)


def is_number(value: Any) -> bool:
    """Whether a value is a plain number of Python, and not a bool."""
    return type(value) in (int, float)


def refuse_order(order: Any) -> None:
    """Raise `InvalidArgument` for anything but 1 and 2."""
    if type(order) is not int or order not in (1, 2):
        raise InvalidArgument(f"order is {quoted(order)}; pass 1 or 2")


def refuse_unknown(verb: str, unknown: Mapping[str, Any], options: Any) -> None:
    """Raise `InvalidArgument` for keyword arguments that a verb does not have, which are meant for the forward as a rule."""
    if unknown:
        known = options if isinstance(options, Mapping) else {}
        given = ", ".join(f"{key!r}: {quoted(value)}" for key, value in {**known, **unknown}.items())
        raise InvalidArgument(
            f"{verb} has no argument {' and '.join(map(repr, unknown))}; what the forward takes by keyword goes into options: "
            f"options={{{given}}}"
        )


def options_of(options: Any) -> dict[str, Any]:
    """The options as a dict of their own. Raises `InvalidArgument` for anything but a mapping with names as keys."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise InvalidArgument(f"options is {quoted(options)}; pass a dict of keyword arguments: options={{'dim': 1}}")
    for key in options:
        if not isinstance(key, str):
            raise InvalidArgument(f"options has the key {quoted(key)}; pass a dict of keyword arguments: options={{'dim': 1}}")
    return dict(options)


def wrt_of(value: Any) -> tuple[str | int, ...] | None:
    """The names and positions in `wrt`, a single one as a tuple. Raises `InvalidArgument` for anything else, and for none."""
    if value is None:
        return None
    each = (value,) if isinstance(value, str) or type(value) is int else value
    if not isinstance(each, Collection) or not all(isinstance(v, str) or type(v) is int for v in each):
        raise InvalidArgument(f"wrt is {quoted(value)}; pass names or positions of inputs: wrt=['x']")
    if not each:
        raise InvalidArgument("wrt names no input; name those that need a gradient, or leave it out")
    return tuple(each)


def wanted_of(wrt: Wrt, title: str, names: Sequence[str], floating: Collection[int]) -> frozenset[int]:
    """The inputs, by index, that `wrt` names. Raises `InvalidArgument` for one that is unknown or has no gradient."""
    wanted = set[int]()
    for each in wrt_of(wrt) or ():
        index = each if isinstance(each, int) else names.index(each) if each in names else len(names)
        if not 0 <= index < len(names):
            raise InvalidArgument(f"wrt names {quoted(each)}, which is no input of {title}; its inputs are {', '.join(names)}")
        if index not in floating:
            fix = f"pass {names[index]}.double(), or leave it out"
            raise InvalidArgument(f"wrt names {quoted(each)}, which is no floating tensor; {fix}")
        wanted.add(index)
    return frozenset(wanted)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """A block that looks at the user's objects; what these raise then becomes an `InvalidArgument`."""
    try:
        with Contained():
            yield
    except InvalidArgument:
        raise
    except Exception as error:
        raise InvalidArgument(
            f"looking at {what} raised {class_and_line(error)}; pass inputs and options of the kinds that it takes"
        ) from error


def name_of(value: Any) -> str:
    """What messages call a user's object: its name, else that of its class; also where its attributes cannot be read."""
    for attribute in ("name", "__name__"):
        try:
            with Contained():
                found = getattr(value, attribute, None)
                if isinstance(found, str) and found:
                    return cut(found)
        except Exception:
            continue
    return type(value).__name__
