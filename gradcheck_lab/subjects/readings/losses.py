"""Readings of a function that returns a number and an array of an input's shape, which nothing calls a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.subjects.layers.arguments import Arguments, built
from gradcheck_lab.subjects.layers.code import returned_names
from gradcheck_lab.subjects.layers.paths import is_array
from gradcheck_lab.subjects.readings.reading import Reading, refusal
from gradcheck_lab.subjects.readings.users_names import input_names_in_use, name_in_use


def unclaimed_gradient(function: Any, loss: int, count: int, given: Arguments) -> InvalidArgument:
    """The refusal of a function whose results beside entry `loss` are no gradients as far as names and a call tell."""
    inputs = [built(place, given.leaves) for place in given.layout]
    names = input_names(function, len(inputs))
    names = names if all(name.isidentifier() for name in names) else tuple(f"x{k}" for k in range(len(inputs)))
    called, shown = name_in_use(function, "f"), ", ".join(names)
    words = _words(function, loss, count)
    rest = [k for k in range(count) if k != loss]
    wanted = next((name for name, value in zip(names, inputs, strict=True) if is_array(value)), names[0])
    taken = f"{called}({shown})[{rest[0]}]" if len(rest) == 1 else f"{called}({shown})[{rest[0]}:]"
    pair = (f"lambda {shown}: {called}({shown})[{loss}]", f"lambda {shown}: {taken}")
    arguments = ", ".join(input_names_in_use(inputs, names))
    readings = [
        Reading(f"loss, gradient of {wanted} = {called}({shown})", f"gl.check(({pair[0]}, {pair[1]}), {arguments})"),
        Reading(f"{words} = {called}({shown}), with a backward of its own that takes an upstream gradient of each: "
                f"gl.check(({called}, backward), {arguments})", ""),
        Reading(f"a function to be written in torch: {called}({shown}) has no gradient that was written by hand", ""),
    ]  # fmt: skip
    return refusal(f"cannot tell whether {called} returns a gradient: it returns a number and {words.partition(', ')[2]}, "
                   f"which no name calls one and a numeric derivative does not agree with", readings)  # fmt: skip


def _words(function: Any, loss: int, count: int) -> str:
    names: Sequence[str] = returned_names(function) or ()
    names = names if len(names) == count else [""] * count
    plain = [name or ("a number" if k == loss else "an array") for k, name in enumerate(names)]
    return ", ".join([plain[loss], *(word for k, word in enumerate(plain) if k != loss)])
