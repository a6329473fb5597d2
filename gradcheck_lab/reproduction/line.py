"""A call of this package as one line of Python that fails in the same way."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gradcheck_lab.model.arguments import name_of
from gradcheck_lab.model.exceptions import Contained
from gradcheck_lab.model.limits import DRAWN_ELEMENTS
from gradcheck_lab.model.shown import one_line
from gradcheck_lab.reproduction.caller import Caller
from gradcheck_lab.reproduction.drawn import drawn_text
from gradcheck_lab.reproduction.imports import defined_at
from gradcheck_lab.reproduction.kept import loading
from gradcheck_lab.reproduction.writer import Writer

_writing: ContextVar[bool] = ContextVar("_writing", default=False)  # a call that is made to write the line of another has none

Alike = Callable[[Any], bool]  # whether what a written call returns shows what was found


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a public function: its name and arguments, those by position with what they are called.

    `quick` are keywords for the call that shows whether inputs drawn anew fail alike; None where others mean another call.
    `interpreted` says that Triton's interpreter ran kernels in it.
    """

    function: str
    positional: Sequence[tuple[str, Any]]
    keywords: Mapping[str, Any]
    quick: Mapping[str, Any] | None = None
    interpreted: bool = False


def line_of(call: Call, caller: Caller, alike: Alike | None = None) -> str:
    """The line. What nothing imports keeps the name that the user's code has for it, and a comment says where it stands.

    Inputs of many elements are drawn anew where `alike` says of the call on these that it fails in the same way.
    """
    if _writing.get():
        return ""
    token = _writing.set(True)
    try:
        with Contained():
            return _line(call, caller, alike)
    except Exception as error:  # an object of the user whose attributes cannot be read, a number of thousands of digits
        subject = name_of(call.positional[0][1])
        return one_line(f"{call.function}({subject}, ...)  # its arguments cannot be written: {type(error).__name__}")
    finally:
        _writing.reset(token)


def _line(call: Call, caller: Caller, alike: Alike | None) -> str:
    writer = Writer(caller.scopes)
    if call.interpreted:
        writer.need("import os", "os.environ['TRITON_INTERPRET'] = '1'")
    default = torch.get_default_dtype()
    if default != torch.float32:
        writer.need("import torch", f"torch.set_default_dtype({default})")
    writer.need("import gradcheck_lab as gl")
    text = writer.call(call.function, call.positional, call.keywords)
    comments = [where_absent(writer.absent, caller.place)] if writer.absent else []
    loaded = loading(name_of(call.positional[0][1]), writer.large) if writer.large else []
    drawn = _drawn(writer.large) if call.quick is not None else {}
    if loaded:
        writer.need("import torch", *loaded)
    elif drawn and (said := _tried(call, writer, drawn, alike)):
        writer.need("import torch", *(f"{name} = {each}" for name, each in drawn.items()))
        comments.append(f"{_listed(drawn)} {'is' if len(drawn) == 1 else 'are'} drawn anew, {said}")
    elif writer.large:
        values = (f"{name} = {_described(value)}" for name, value in writer.large.items())
        comments.append(f"with {', '.join(values)}{f' of {caller.place}' if caller.place else ''}")
    written = "; ".join([*merged(writer.before), f"print({text})"])
    return one_line(f"{written}  # {'; '.join(comments)}" if comments else written)


def _drawn(large: Mapping[str, Any]) -> dict[str, str]:
    """Expressions that draw the values anew; none where one of them has a dtype that is not drawn."""
    try:
        return {name: drawn_text(value, seed) for seed, (name, value) in enumerate(large.items())}
    except (RuntimeError, TypeError):
        return {}


def _tried(call: Call, writer: Writer, drawn: Mapping[str, str], alike: Alike | None) -> str:
    """What is to be said of inputs drawn anew; empty where the call does not fail alike with them."""
    elements = sum(int(np.prod(value.shape)) for value in writer.large.values())
    if alike is None or elements > DRAWN_ELEMENTS.value:
        return "which was not tried"
    return "and the failure is the same" if _fails_alike(call, writer, drawn, alike) else ""


def _fails_alike(call: Call, writer: Writer, drawn: Mapping[str, str], alike: Alike) -> bool:
    """Whether the call with these inputs fails in the same way: the text itself is run, but for the names that nothing has."""
    quick = Writer(writer.scopes, list(writer.before), dict(writer.absent), dict(writer.large))
    text = quick.call(call.function, call.positional, {**call.keywords, **(call.quick or {})})
    names = dict(writer.absent)
    statements = [*quick.before, "import torch", *(f"{name} = {each}" for name, each in drawn.items())]
    path = list(sys.path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec("\n".join(statements), names)
            return alike(eval(text, names))
    except Exception:  # drawn values that the forward refuses
        return False
    finally:
        sys.path[:] = path


def merged(statements: Sequence[str]) -> list[str]:
    """The statements with one import of each module."""
    names: dict[str, list[str]] = {}
    for each in statements:
        module, _, name = each.partition(" import ") if each.startswith("from ") else (each, "", "")
        names.setdefault(module, []).append(name)
    return [f"{first} import {', '.join(found)}" if any(found) else first for first, found in names.items()]


def where_absent(absent: Mapping[str, Any], place: str) -> str:
    """Where what nothing imports stands: `run it where square (a.py:3) is: nothing imports it`."""
    places = [(name, defined_at(value) or place) for name, value in absent.items()]
    named = _listed([f"{name} ({where})" if where else name for name, where in places])
    return f"run it where {named} {'is: nothing imports it' if len(places) == 1 else 'are: nothing imports them'}"


def _described(value: Any) -> str:
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"


def _listed(names: Sequence[str] | Mapping[str, Any]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
