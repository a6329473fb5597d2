"""Readings of a pair of functions whose backward has parameters that no name tells: every order of what a backward takes."""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.limits import READINGS_TRIED
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.subjects.forms.backward_plan import is_cache_name, is_output_name, is_upstream_name
from gradcheck_lab.subjects.layers.backward_call import RATES
from gradcheck_lab.subjects.layers.paths import is_array, is_number
from gradcheck_lab.subjects.readings.evidence import Evidence, Judge
from gradcheck_lab.subjects.readings.reading import Reading, refusal
from gradcheck_lab.subjects.readings.users_names import input_names_in_use, name_in_use


@dataclass(frozen=True, slots=True)
class Split:
    """Which entries of what the forward returns are outputs, and which is the cache; `wrap` makes that of it, as code."""

    outputs: tuple[int, ...]
    cache: int | None
    wrap: str


@dataclass(frozen=True)
class Pair:
    """A forward and a backward, and a call of them. The wrapper is a pair, or an op; one that is `checked` by itself."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: Sequence[Any]
    options: Mapping[str, Any]
    result: Any
    as_op: bool = False
    checked: bool = True

    def readings(self) -> list[Reading]:
        """Every reading that the call was tried with, the nearest first."""
        found: list[tuple[Evidence, int, Reading]] = []
        for split in self._splits():
            entries = [self._entry(self.result, k) for k in split.outputs]
            if not all(is_array(v) or is_number(v) for v in entries):
                continue
            judge = Judge(self.inputs, lambda values, s=split: self._outputs(values, s), entries, not self.as_op)  # type: ignore[misc]
            for words in itertools.islice(self._assignments(split), READINGS_TRIED.value):
                found.append((self._evidence(judge, split, words), -len(found), self._reading(split, words)))
        return [reading for _, _, reading in sorted(found, key=lambda each: each[:2], reverse=True)]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs in the wrapper: those of the forward's parameters."""
        names = input_names(self.forward, len(self.inputs))
        return names if all(name.isidentifier() for name in names) else tuple(f"x{k}" for k in range(len(self.inputs)))

    def _splits(self) -> Iterator[Split]:
        if not isinstance(self.result, (tuple, list)) or len(self.result) < 2:
            yield Split((-1,), None, "{}")
            return
        last = len(self.result) - 1
        if all(is_array(v) or is_number(v) for v in self.result):
            yield Split(tuple(range(last + 1)), None, "{}")
        if self.as_op:
            return
        yield Split(tuple(range(last)), last, "{}")
        yield Split(tuple(range(1, last + 1)), 0, "{}[::-1]" if last == 1 else "(*{0}[1:], {0}[0])")

    def _assignments(self, split: Split) -> Iterator[tuple[str, ...]]:
        several = [f"grad_output[{k}]" if self.as_op else f"grad_{k + 1}" for k in range(len(split.outputs))]
        upstream = ["grad_output"] if len(split.outputs) == 1 else several
        held = ["cache"] if split.cache is not None else ["output"] if len(split.outputs) == 1 else []
        roles = [*upstream, *held, *self.names] if "cache" in held else [*upstream, *self.names, *held]
        choices = [self._choices(name, roles, upstream, split) for name in self._parameters()]
        for words in itertools.product(*choices):
            plain = [word for word in words if word in roles]
            if len(set(plain)) == len(plain) and set(words) & {*upstream, *self.names, "output"}:
                yield words

    def _choices(self, name: str, roles: list[str], upstream: list[str], split: Split) -> list[str]:
        if name in self.options:
            return [name]
        if name.lower() in RATES:
            return ["1.0"]
        if name in self.names:
            return [name]
        if is_cache_name(name) and split.cache is not None:
            return ["cache"]
        if is_upstream_name(name):
            return upstream
        return ["output"] if "output" in roles and is_output_name(name) else [*roles, "None"]

    def _parameters(self) -> list[str]:
        try:
            parameters = inspect.signature(self.backward).parameters.values()
        except (TypeError, ValueError):
            return []
        return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
                and (p.default is p.empty or p.name in self.options)]  # fmt: skip

    def _evidence(self, judge: Judge, split: Split, words: Sequence[str]) -> Evidence:
        cache = None if split.cache is None else self._entry(self.result, split.cache)

        def backward(grads: list[Any]) -> Any:
            held = dict(zip(self.names, self.inputs, strict=True)) | dict(self.options)
            held |= {"output": judge.outputs[0], "cache": cache, "1.0": 1.0, "None": None, "grad_output": grads[0]}
            for k, grad in enumerate(grads):
                held |= {f"grad_{k + 1}": grad, f"grad_output[{k}]": grad}
            return self.backward(*copy.deepcopy([held[word] for word in words]))

        return judge.evidence(backward, any(word.startswith("grad_") for word in words))

    def _outputs(self, values: Sequence[Any], split: Split) -> list[Any]:
        result = self.forward(*copy.deepcopy(list(values)), **self.options)
        return [self._entry(result, k) for k in split.outputs]

    @staticmethod
    def _entry(result: Any, k: int) -> Any:
        return result if k == -1 else result[k]

    def _reading(self, split: Split, words: Sequence[str]) -> Reading:
        forward, backward = name_in_use(self.forward, "your_forward"), name_in_use(self.backward, "your_backward")
        keywords = [f"{key}={key}" for key in self.options if key not in words and self._takes(key)]
        call = f"{backward}({', '.join([*words, *keywords])})"
        as_it_is = split.wrap == "{}" and self.names == input_names(self.forward, len(self.inputs))
        ran = f"{forward}({', '.join(self.names)})"
        first = forward if as_it_is else f"lambda {', '.join(self.names)}: {split.wrap.format(ran)}"
        rule = f"lambda {', '.join(self._heads(split, words))}: {call}"
        outputs = ["output"] if len(split.outputs) == 1 else [f"output_{k + 1}" for k in range(len(split.outputs))]
        parts = outputs if split.cache is None else ["cache", *outputs] if split.cache == 0 else [*outputs, "cache"]
        return Reading(f"{', '.join(parts)} = {ran}, then {call}", self._wrapper(first, rule))

    def _heads(self, split: Split, words: Sequence[str]) -> list[str]:
        """The parameters of the backward in the wrapper, which are read by their names."""
        options = [f"{key}=None" for key in self.options]
        if self.as_op:
            return ["grad_output", "output", *self.names, *options]
        upstream = ["grad_output"] if len(split.outputs) == 1 else [f"grad_{k + 1}" for k in range(len(split.outputs))]
        used = [w for w in dict.fromkeys(words) if w in (*self.names, "output", "cache")]
        used += ["cache"] if split.cache is not None and "cache" not in used else []
        return [*(upstream if set(words) & set(upstream) else []), *used, *options]

    def _wrapper(self, forward: str, rule: str) -> str:
        options = f", options={dict(self.options)!r}" if self.options else ""
        given = ", ".join(input_names_in_use(self.inputs, self.names))
        if not self.as_op:
            return f"gl.check(({forward}, {rule}), {given}{options})"
        return f"gl.check(gl.Op({forward}, {rule}), {given}{options})" if self.checked else f"gl.Op({forward}, {rule})"

    def _takes(self, option: str) -> bool:
        try:
            parameters = inspect.signature(self.backward).parameters.values()
        except (TypeError, ValueError):
            return False
        return any(p.kind is p.VAR_KEYWORD or p.name == option for p in parameters)


def unread_pair(problem: str, pair: Pair) -> InvalidArgument:
    """The refusal of a pair whose backward has parameters that nothing tells."""
    return refusal(problem, pair.readings())
