"""What the drawn calls of a run had, counted by outcome, and the failing ones on the way to the smallest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from gradcheck_lab.calls.kinds import PROFILES, WRITTEN
from gradcheck_lab.calls.layouts import LAYOUT_NAMES
from gradcheck_lab.calls.recipe import CallRecipe
from gradcheck_lab.fuzzing.coding import LEADING, Coding, broadcast_places, dimensions_of
from gradcheck_lab.fuzzing.wording import call_text
from gradcheck_lab.model.drawn import DrawnCalls, Outcome, Outcomes, Property, ShrinkStep, Tried
from gradcheck_lab.model.shown import cut

_Key = tuple[Property, str]

_TABLES: dict[Property, Sequence[str]] = {
    "axes": tuple(map(str, range(LEADING + 1))),
    "broadcast": ("no", "yes"),
    "values": ("ordinary", *PROFILES),
    "layout": ("contiguous", *LAYOUT_NAMES),
}


@dataclass
class Record:
    """Counts the calls of one search. `coding` is what they are drawn by, `names` those of a call's inputs."""

    coding: Coding
    names: Callable[[CallRecipe], Sequence[str]]
    calls: int = 0
    shrunk: list[ShrinkStep] = field(default_factory=list)
    _counts: dict[_Key, dict[str, Counter[Outcome]]] = field(default_factory=dict)

    def add(self, call: CallRecipe, outcome: Outcome) -> None:
        """Count a call; one with written values, which only simplifies another, adds to the number of calls alone."""
        self.calls += 1
        if any(tensor.values is not None for tensor in call.tensors):
            return
        for kind, name, value in self._properties(call):
            row = self._counts.setdefault((kind, name), {known: Counter() for known in self._table(kind, name)})
            row.setdefault(value, Counter())[outcome] += 1

    def smaller(self, call: CallRecipe) -> None:
        """Keep a failing call as the last step; one that was a step before ends what was tried after it."""
        words = call_text(call, self.names(call))
        if any(tensor.profile == WRITTEN for tensor in call.tensors):
            words = f"{words}, simple values"
        known = next((k for k, step in enumerate(self.shrunk) if step.words == words), None)
        if known is None:
            self.shrunk.append(ShrinkStep(self.calls, words, call.elements))
        else:
            del self.shrunk[known + 1 :]

    def result(self) -> DrawnCalls:
        """What was counted so far."""
        order: tuple[Property, ...] = ("size", "axes", "broadcast", "values", "layout", "dtype", "option")
        keys = sorted(self._counts, key=lambda key: order.index(key[0]))
        return DrawnCalls(self.calls, tuple(self._tried(key) for key in keys), tuple(self.shrunk))

    def _tried(self, key: _Key) -> Tried:
        outcomes = (
            Outcomes(value, counts["right"], counts["wrong"], counts["refused"], counts["not compared"])
            for value, counts in self._counts[key].items()
        )
        return Tried(*key, tuple(outcomes))

    def _properties(self, call: CallRecipe) -> Iterator[tuple[Property, str, str]]:
        signature = next(each for each in self.coding.signatures if _fits(call, [spec.kind for spec in each]))
        for name, dim in dimensions_of(signature).items():
            sizes = call.sizes.get(name, ())
            if dim.size is None:
                yield from (("size", f"{'*' * dim.variadic}{name}", str(size)) for size in dict.fromkeys(sizes))
            if dim.variadic:
                yield "axes", f"*{name}", str(len(sizes))
        broadcast = dict.fromkeys(index for index, _ in broadcast_places(signature))
        for index, (name, tensor) in enumerate(zip(self.names(call), call.tensors, strict=True)):
            if index in broadcast:
                yield "broadcast", name, "yes" if index in call.broadcast else "no"
            yield "values", name, tensor.profile
            yield "layout", name, tensor.layout
        dtypes = [tensor.dtype for tensor in call.tensors if tensor.dtype in self.coding.dtypes]
        yield from (("dtype", "dtype", _dtype(dtype)) for dtype in dtypes[:1])
        yield from (("option", name, cut(repr(value))) for name, value in call.options.items())

    def _table(self, kind: Property, name: str) -> Sequence[str]:
        if kind == "size":
            sizes = self.coding.short_sizes if name.startswith("*") else self.coding.sizes
            return ["0", *map(str, sorted(sizes))]
        if kind == "dtype":
            return list(dict.fromkeys(map(_dtype, self.coding.dtypes)))
        if kind == "option":
            return [cut(repr(value)) for value in self.coding.options.get(name, ())]
        return _TABLES[kind]


def _fits(call: CallRecipe, kinds: Sequence[str]) -> bool:
    return [tensor.kind for tensor in call.tensors] == kinds


def _dtype(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")
