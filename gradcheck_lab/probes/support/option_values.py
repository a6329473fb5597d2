"""The options of a call: passed by keyword, as inputs or within a dict, or left at defaults; and other values for them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gradcheck_lab.model.amounts import OTHER_OPTIONS_FOR_ZERO
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.subjects.custom_op import defaults_of

_WORDS = (("none", "mean", "sum"), ("constant", "reflect", "replicate", "circular"), ("none", "tanh"), ("zeros", "border"))
# an object whose backward belongs to training need not have one for the other mode, which a call has to ask for
_MODES = frozenset("training train is_training is_train train_flg train_flag train_mode".split())
_KEEPS = re.compile(r"(retain|save|store|cache)(_\w+)?|keep_(cache|derived|graph)")  # what the backward needs


def known_options(context: Context) -> dict[str, Any]:
    """The options of the call, and the defaults of others, unless a reference is used, which may not have those."""
    defaults = {} if context.has_reference else _defaults(context)
    return {**defaults, **context.case.options}


def options_among_inputs(context: Context) -> dict[str, Any]:
    """The inputs that are options rather than tensors, as of an autograd.Function, and entries of dicts of them, by name."""
    found: dict[str, Any] = {}
    for name, value in zip(context.subject.names, context.case.inputs, strict=True):
        entries = {entry_name(name, key): v for key, v in value.items()} if isinstance(value, dict) else {name: value}
        found |= {entry: v for entry, v in entries.items() if isinstance(v, (bool, int, float, str))}
    return found


def entry_name(name: str, key: Any) -> str:
    """The name of an entry of a dict of options."""
    return f"{name}[{key!r}]"


def with_changes(name: str, value: Any, changes: Mapping[str, Any]) -> Any:
    """An input with its new value where it is an option, and with those of its entries where it is a dict of options."""
    if isinstance(value, dict):
        return {key: changes.get(entry_name(name, key), v) for key, v in value.items()}
    return changes.get(name, value) if isinstance(value, (bool, int, float, str)) else value


def other_values(value: Any) -> Iterator[Any]:
    """Other values for an option with this value, the most revealing first.

    >>> list(other_values("mean")), list(other_values(True)), list(other_values(0.5))
    (['none', 'sum'], [False], [0.25, 1.5])
    """
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int) and value > 8:  # as for a window or block larger than the inputs
        yield from (2, value + 1, 1)
    elif isinstance(value, int):
        yield from (value + 1, value - 1) if value >= 0 else ((0, 1) if value > -8 else (0,))
    elif isinstance(value, float):
        yield from (value / 2, value * 3) if value else OTHER_OPTIONS_FOR_ZERO.value
    elif isinstance(value, str):
        words = next((family for family in _WORDS if value in family), ())
        yield from (word for word in words if word != value)


def _defaults(context: Context) -> dict[str, Any]:
    """The forward's options and their defaults, by name; empty where its signature cannot be read."""
    subject = context.subject
    if subject.operator is not None:
        return {name: default for name, default in defaults_of(subject.user).items() if name not in subject.names}
    try:
        parameters = inspect.signature(subject.signature).parameters.values() if subject.signature is not None else ()
    except (TypeError, ValueError):
        return {}
    known = {*subject.names, *(_MODES if subject.state is not None else ())}
    further = [p for p in parameters if p.default is not p.empty and p.name not in known]
    return {p.name: p.default for p in further if subject.state is None or not _KEEPS.fullmatch(p.name.lower())}
