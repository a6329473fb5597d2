"""Readings of a function of arrays that comes without a gradient: nothing differentiates it, and no backward is given."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.subjects.readings.evidence import Judge
from gradcheck_lab.subjects.readings.reading import Reading, refusal
from gradcheck_lab.subjects.readings.users_names import input_names_in_use, name_in_use

_FLAGS = frozenset("deriv derivative grad gradient prime backward diff derive".split())


def without_gradient(function: Any, name: str, inputs: Sequence[Any], result: Any) -> InvalidArgument:
    """The refusal of a function of arrays; where it has a flag such as `deriv=False`, that is read as its derivative."""
    names = input_names(function, len(inputs))
    names = names if all(word.isidentifier() for word in names) else tuple(f"x{k}" for k in range(len(inputs)))
    called, shown, given = name_in_use(function, "f"), ", ".join(names), ", ".join(input_names_in_use(inputs, names))
    flag = _flag(function, len(inputs))
    readings = []
    if flag is not None:
        judge = Judge(inputs, lambda values: [function(*copy.deepcopy(list(values)))], [result])
        words = {shown: inputs, "output": (result,)}
        found = [
            (judge.evidence(lambda grads, w=word: function(*copy.deepcopy(list(words[w])), **{flag: True}), False), word)  # type: ignore[misc]
            for word in words
        ]
        for _, word in sorted(found, key=lambda each: each[0], reverse=True):
            call = f"{called}({word}, {flag}=True)"
            pair = f"(lambda {shown}: {called}({shown}), lambda {word}: {call})"
            readings.append(Reading(f"output = {called}({shown}), then {call}", f"gl.check({pair}, {given})"))
    problem = f"{name} takes arrays, and nothing in this call is a gradient of it"
    if not readings:
        return InvalidArgument(
            f"{problem}; pass its backward too: gl.check(({called}, backward), {given}) with backward(dout, {shown}), "
            f"or a function of tensors"
        )
    return refusal(problem, readings)


def _flag(function: Any, count: int) -> str | None:
    try:
        parameters = list(inspect.signature(function).parameters.values())[count:]
    except (TypeError, ValueError):
        return None
    return next((p.name for p in parameters if p.name.lower() in _FLAGS and p.default is False), None)
