"""The options of a call: passed by keyword, as inputs or within a dict, or left at defaults; and other values for them."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import torch

from gradcheck_lab.model.amounts import LARGE_OPTION, OPTIONS_FOR_NONE, OTHER_OPTIONS_FOR_ZERO
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.option_names import entry_name, plain_name
from gradcheck_lab.subjects.code.facts import Facts
from gradcheck_lab.subjects.custom_op import defaults_of

# words that functions of torch tell apart, for code that only hands them on
_WORDS = (("none", "mean", "sum"), ("constant", "reflect", "replicate", "circular"), ("none", "tanh"), ("zeros", "border"))
_NO_NUMBER = re.compile(r"Tensor|ndarray|Array|Callable|str|Generator|list|dict")  # in an annotation
_KEEPS = re.compile(r"(retain|save|store|cache)(_\w+)?|keep_(cache|derived|graph)")  # what the backward needs
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_SCALAR = (bool, int, float, str)


def known_options(context: Context) -> dict[str, Any]:
    """The options of the call, and the defaults of others; where a reference is used, of those that it has as well."""
    further = _further_defaults(context)
    if context.has_reference:
        theirs = {p.name: p.default for p in parameters(context.subject.reference) if p.kind in _BY_NAME}
        further = {name: v for name, v in further.items() if name in theirs and _same(theirs[name], v)}
    return {**further, **context.case.options}


def options_among_inputs(context: Context) -> dict[str, Any]:
    """The inputs that are options rather than tensors, as of an autograd.Function, and entries of dicts of them, by name.

    An input of None is one, and a tensor whose default is None.
    """
    return dict(context.once("options among inputs", lambda: _among_inputs(context)))


def _among_inputs(context: Context) -> dict[str, Any]:
    found: dict[str, Any] = {}
    optional = {name for name, default in defaults(context).items() if default is None}
    for index, (name, value) in enumerate(zip(context.subject.names, context.case.inputs, strict=True)):
        entries = {entry_name(name, key): v for key, v in value.items()} if isinstance(value, dict) else {name: value}
        found |= {entry: v for entry, v in entries.items() if isinstance(v, (*_SCALAR, Enum))}
        if name in optional and index not in context.subject.parameters and (value is None or isinstance(value, torch.Tensor)):
            found[name] = value
    return found


def with_changes(name: str, value: Any, changes: Mapping[str, Any]) -> Any:
    """An input with its new value where it is an option, and with those of its entries where it is a dict of options."""
    if isinstance(value, dict):
        return {key: changes.get(entry_name(name, key), v) for key, v in value.items()}
    return changes.get(name, value)


def defaults(context: Context) -> dict[str, Any]:
    """The defaults of the forward's parameters, by name; empty where its signature cannot be read."""
    return dict(context.once("defaults", lambda: _defaults(context)))


def _defaults(context: Context) -> dict[str, Any]:
    subject = context.subject
    if subject.operator is not None:
        return dict(defaults_of(subject.user))
    return {p.name: p.default for p in parameters(subject.signature) if p.default is not p.empty}


def parameters(function: Any) -> list[inspect.Parameter]:
    """The parameters of a function; none where its signature cannot be read."""
    try:
        return list(inspect.signature(function).parameters.values()) if function is not None else []
    except (TypeError, ValueError):
        return []


def values_in_code(context: Context, name: str, value: Any, facts: Facts) -> list[Any]:
    """Other values that code tells from this one: compared constants, a default, the words of an annotation, None.

    An op declares such values as its choices.
    """
    plain = plain_name(name)
    names = facts.copies_of(plain)
    found = [constant for each in sorted(names) for constant in facts.compared.get(each, ())]
    found += _annotated(context, plain)
    if isinstance(value, bool):
        found = [not value, *(v for v in found if isinstance(v, str))]
    elif isinstance(value, (int, float)):
        found = [type(value)(v) if isinstance(value, float) else v for v in found if _is_number(v)]
        found = [v for v in found if isinstance(value, float) or isinstance(v, int) or not float(v).is_integer()]
        found += [_beyond(value, bound) for each in sorted(names) for bound in facts.beside.get(each, ())]
    elif isinstance(value, str):
        found = [v for v in found if isinstance(v, str)]
    elif isinstance(value, Enum):
        found = list(type(value))
    elif isinstance(value, torch.Tensor):
        found = []
    default = defaults(context).get(name, value)
    found += [default] if isinstance(default, (*_SCALAR, type(None))) else []
    found += context.subject.op.choices.get(name, ()) if context.subject.op is not None else ()
    return [v for k, v in enumerate(found) if not _same(v, value) and not any(_same(v, other) for other in found[:k])]


def other_values(value: Any) -> Iterator[Any]:
    """Other values for an option with this value that code need not name, the most revealing first.

    >>> list(other_values("mean")), list(other_values(3)), list(other_values(0.5))
    (['none', 'sum'], [4, 2], [0.25, 1.5])
    """
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int) and value > LARGE_OPTION.value:  # as for a window or block larger than the inputs
        yield from (2, value + 1, 1)
    elif isinstance(value, int):
        yield from (value + 1, value - 1) if value >= 0 else ((0, 1) if value > -8 else (0,))
    elif isinstance(value, float):
        yield from (value / 2, value * 3) if value else OTHER_OPTIONS_FOR_ZERO.value
    elif isinstance(value, str):
        words = next((family for family in _WORDS if value in family), ())
        yield from (word for word in words if word != value)


def numbers_for_none(context: Context, name: str, facts: Facts) -> tuple[Any, ...]:
    """Numbers for an option of None that the code compares with None or reads as a condition, unless it is no number."""
    annotation = next((str(p.annotation) for p in parameters(context.subject.signature) if p.name == name), "")
    if not facts.copies_of(name) & facts.tested or _NO_NUMBER.search(annotation):
        return ()
    return OPTIONS_FOR_NONE.value


def _beyond(value: float, bound: float) -> Any:
    """A number on the other side of a bound."""
    moved = bound + 1 if value <= bound else bound - 1
    return int(moved) if isinstance(value, int) else float(moved)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and not isinstance(one, torch.Tensor) and bool(one == other)


def _annotated(context: Context, name: str) -> list[Any]:
    """The values that the annotation of a parameter lists: `Literal["mean", "sum"]`, and True of `bool | None`."""
    signature = context.subject.signature
    try:
        hint = typing.get_type_hints(getattr(signature, "__func__", signature)).get(name)
    except Exception:  # a name that stands for nothing here
        return []
    parts = typing.get_args(hint) if typing.get_origin(hint) is not typing.Literal else (hint,)
    literals = [v for part in parts if typing.get_origin(part) is typing.Literal for v in typing.get_args(part)]
    return [v for v in literals if isinstance(v, _SCALAR)] + ([True] if bool in parts else [])


def _further_defaults(context: Context) -> dict[str, Any]:
    """The options that the call left at their defaults, without those that say what is kept for the backward."""
    subject = context.subject
    further = {name: default for name, default in defaults(context).items() if name not in subject.names}
    return {name: v for name, v in further.items() if subject.state is None or not _KEEPS.fullmatch(name.lower())}
