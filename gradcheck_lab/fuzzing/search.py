"""Hypothesis looks for a call that shows a wrong gradient and shrinks it; then its values are replaced by simple ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random

import torch
from hypothesis import Phase, find, settings
from hypothesis.errors import Flaky, NoSuchExample
from hypothesis.strategies import SearchStrategy

from gradcheck_lab.calls.kinds import KINDS, WRITTEN
from gradcheck_lab.calls.recipe import CallRecipe, TensorRecipe
from gradcheck_lab.fuzzing.examiner import Examiner
from gradcheck_lab.fuzzing.tried import Record
from gradcheck_lab.model.drawn import Outcome
from gradcheck_lab.report import Report

OnExample = Callable[[int, int], None]

_MOST_ELEMENTS = 16  # of a tensor whose values are simplified
_MOST_TRIES = 200  # calls that simplifying makes at most


@dataclass
class Search:
    """One run of Hypothesis.

    `key` names the object in the user's database, and `read` turns an entry of it into a call. `before_call(call)` is called
    before each call, `on_example(examples, found)` after it; an exception that this raises ends the search. `examples` counts
    the calls up to and with the first wrong one, not those of shrinking. `first` is that call, which the full check confirmed,
    `diagnosed` its report, and `smallest` the smallest wrong call so far. `record`, where there is one, counts what the calls
    had; unless it `remembers`, the user's database is left alone. `flaky` is set where the same call was wrong and sound in
    turn.
    """

    examiner: Examiner
    strategy: SearchStrategy[CallRecipe]
    max_examples: int
    seed: int
    key: str
    read: Callable[[bytes], CallRecipe | None] = lambda text: None
    on_example: OnExample = lambda examples, found: None
    before_call: Callable[[CallRecipe], None] = lambda call: None
    record: Record | None = None
    remembers: bool = True
    diagnosed: Report | None = None
    examples: int = 0
    smallest: CallRecipe | None = None
    first: CallRecipe | None = None
    flaky: bool = False
    _tries: int = 0
    _known: dict[str, bool] = field(default_factory=dict)

    def run(self) -> CallRecipe | None:
        """Search, shrink, and simplify the values of a wrong call. Returns None where every call is sound.

        The user's Hypothesis profile decides on the database, the phases and the verbosity.
        """
        base = settings() if self.remembers else settings(database=None)
        phases = [phase for phase in base.phases if phase not in (Phase.explain, Phase.explicit)]
        mine = settings(base, max_examples=self.max_examples, deadline=None, phases=phases, database=None)
        found = self._from_database(base) if Phase.reuse in phases else None
        if found is not None:
            return self._simplified(found)
        try:
            found = find(self.strategy, self._is_wrong, settings=mine, random=Random(self.seed))
        except NoSuchExample:
            return None
        except Flaky:
            self.flaky, found = True, self.smallest
        if found is not None and found.source and base.database is not None:
            base.database.save(self.key.encode(), found.source)
        if found is None:
            return None
        self._keep(found)
        return self._simplified(found)

    def _from_database(self, base: settings) -> CallRecipe | None:
        """The first call in the user's database that is still wrong; calls that are sound are deleted from it.

        `find` itself does not use the database when it is passed a `Random`, as it is here.
        """
        if base.database is None:
            return None
        for text in sorted(base.database.fetch(self.key.encode())):
            call = self.read(text)
            if call is not None and self._is_wrong(call):
                return call
            base.database.delete(self.key.encode(), text)
        return None

    def _is_wrong(self, call: CallRecipe) -> bool:
        if self.smallest is not None:
            wrong = self._is_still_wrong(call)
        else:
            self.examples += 1
            self.before_call(call)
            outcome = self.examiner.examine(call)
            self._count(call, outcome)
            wrong = outcome == "wrong"
            if wrong:  # while everything about it is known: a smaller call may hide why it is wrong
                self.first, self.diagnosed = call, self.examiner.report(call)
        if wrong and (self.smallest is None or call.elements <= self.smallest.elements):
            self._keep(call)
        self.on_example(self.examples, int(self.smallest is not None))
        return wrong

    def _is_still_wrong(self, call: CallRecipe) -> bool:
        """Whether a simpler call is wrong. Several byte strings decode to the same call, which is examined once."""
        key = repr(call)
        if key not in self._known:
            self.before_call(call)
            outcome = self.examiner.judge(call)
            self._count(call, outcome)
            self._known[key] = outcome == "wrong"
        return self._known[key]

    def _count(self, call: CallRecipe, outcome: Outcome) -> None:
        if self.record is not None:
            self.record.add(call, outcome)

    def _keep(self, call: CallRecipe) -> None:
        self.smallest = call
        if self.record is not None:
            self.record.smaller(call)

    def _simplified(self, call: CallRecipe) -> CallRecipe:
        """The call with as many values as possible replaced by simple ones, one tensor after the other."""
        for index, tensor in enumerate(call.tensors):
            if not KINDS[tensor.kind].elementwise or not 0 < math.prod(tensor.shape) <= _MOST_ELEMENTS:
                continue
            found = next(self._still_wrong(call, index, _all_at_once(tensor)), None)
            if found is not None:
                call = found
                continue
            for position in range(math.prod(tensor.shape)):
                call = next(self._still_wrong(call, index, _one_at(call.tensors[index], position)), call)
        return call

    def _still_wrong(self, call: CallRecipe, index: int, simpler: Iterator[TensorRecipe]) -> Iterator[CallRecipe]:
        """The calls that are still wrong with a simpler tensor at `index`."""
        for tensor in simpler:
            self._tries += 1
            if self._tries > _MOST_TRIES:
                return
            changed = replace(call, tensors=(*call.tensors[:index], tensor, *call.tensors[index + 1 :]))
            if self._is_still_wrong(changed):
                self._keep(changed)
                yield changed


def _all_at_once(tensor: TensorRecipe) -> Iterator[TensorRecipe]:
    """The tensor with all its values replaced: by 1, 2, 3, ..., or by rounded ones."""
    values = tensor.with_written_values().values or ()
    yield from _allowed(tensor, [float(k + 1) for k in range(len(values))])
    for digits in (0, 1, 2):
        yield from _allowed(tensor, [round(float(value), digits) for value in values])


def _one_at(tensor: TensorRecipe, position: int) -> Iterator[TensorRecipe]:
    """The tensor with the value at one position replaced, until the simple value is the one that it has."""
    values = [float(value) for value in tensor.with_written_values().values or ()]
    for simple in (1.0, 2.0, *(round(values[position], digits) for digits in (0, 1, 2))):
        if simple == values[position]:
            return
        yield from _allowed(tensor, [simple if k == position else value for k, value in enumerate(values)])


def _allowed(tensor: TensorRecipe, values: list[float]) -> Iterator[TensorRecipe]:
    """The tensor with these values, where its kind allows them."""
    contains, numbers = KINDS[tensor.kind].contains, torch.tensor(values, dtype=torch.float64)
    if bool((numbers > -math.inf).all()) and (contains is None or bool(contains(numbers).all())):
        yield replace(tensor, profile=WRITTEN, values=tuple(values)).with_written_values()
