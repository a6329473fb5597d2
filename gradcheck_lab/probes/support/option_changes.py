"""Changes of the options of a call: to what its code tells apart, singly and in pairs that it reads together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

from gradcheck_lab.probes.support.code_of import code_of, read_by_forward
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.option_names import plain_name
from gradcheck_lab.probes.support.option_values import (
    known_options,
    numbers_for_none,
    options_among_inputs,
    other_values,
    values_in_code,
)
from gradcheck_lab.probes.support.training_flags import is_training_flag
from gradcheck_lab.subjects.code.constructor import constructor_options

# these say how or where to run, and do not change the function that is differentiated
_NOT_THE_FUNCTION = frozenset("self ctx inplace generator seed device dtype out requires_grad training_step".split())


@dataclass(frozen=True, slots=True)
class Change:
    """Other values of options, or of attributes of the object where `attribute` is set.

    `in_code` says that the code tells them from those of the call; `guessed` that nobody says such a value is taken: a number
    for None, or a word that the code does not name.
    """

    values: Mapping[str, Any]
    in_code: bool = False
    guessed: bool = False
    attribute: bool = False


def option_changes(context: Context) -> Iterator[Change]:
    """The changes, the likeliest to be forgotten by a backward first."""
    every = {name: v for name, v in {**known_options(context), **options_among_inputs(context)}.items()
             if name not in _NOT_THE_FUNCTION}  # fmt: skip
    if not every:
        yield from _of_attributes(context)
        return
    facts = code_of(context)
    told = {name: values_in_code(context, name, value, facts) for name, value in every.items()}
    others = {name: [v for v in other_values(value) if v not in told[name]] for name, value in every.items()}
    first = {name: [*told[name], *others[name]] for name in every}
    for name in every:
        yield from (Change({name: value}, in_code=True) for value in told[name])
    for name in every:
        if others[name] and not told[name]:
            yield Change({name: others[name][0]})
    yield from _of_attributes(context)
    pairs = _read_together(context, [name for name in every if first[name]])
    for one, other in pairs:
        for a, b in product(first[one][:2], first[other][:2]):
            yield Change({one: a, other: b}, in_code=bool(told[one] or told[other]))
    changed = [name for name in every if first[name]]
    if not pairs and len(changed) > 1:
        yield Change({name: first[name][0] for name in changed[:2]})
    for name in every:
        yield from (Change({name: value}) for value in others[name][not told[name] :])
        if every[name] is None:
            yield from (Change({name: value}, guessed=True) for value in numbers_for_none(context, name, facts))
        if isinstance(every[name], str) and not first[name] and facts.compared.keys() & facts.copies_of(plain_name(name)):
            yield Change({name: f"not {every[name]}"}, guessed=True)  # no other word is named: the branch for all others


def _read_together(context: Context, names: list[str]) -> list[tuple[str, str]]:
    """The pairs of options that the code reads in one condition, in conditions within one another, or in one call."""
    facts, plain = code_of(context), {plain_name(name): name for name in names}
    sources = {each: facts.sources_of(each) & plain.keys() for group in facts.together for each in group}
    groups = [{plain[name] for each in group for name in sources[each]} for group in facts.together]
    together = {pair for group in groups for pair in combinations([n for n in names if n in group], 2)}
    return [pair for pair in combinations(names, 2) if pair in together]


def _of_attributes(context: Context) -> Iterator[Change]:
    """Attributes of the object that its constructor only stores and its forward reads."""
    state = context.subject.state
    if state is None or type(state.owner).__module__.partition(".")[0] == "torch":
        return
    stored = context.once("stored", lambda: _stored(context))
    held = constructor_options(state.owner)
    wanted = {name: v for name, v in held.items() if name not in stored and not is_training_flag(name, v)}
    wanted = {name: v for name, v in wanted.items() if name not in context.subject.names and name in read_by_forward(context)}
    for name, value in wanted.items():
        told = values_in_code(context, name, value, code_of(context))
        for other in told or list(other_values(value))[:1]:
            yield Change({name: other}, in_code=bool(told), attribute=True)


def _stored(context: Context) -> frozenset[str]:
    recording = context.record(context.case)
    return frozenset() if isinstance(recording, Exception) else recording.stored
