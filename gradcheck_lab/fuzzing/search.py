"""Hypothesis looks for a call that shows a wrong gradient, and shrinks it; then its numbers are made simple as well."""

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

OnExample = Callable[[int, int], None]

_WRITTEN = 16
_TRIES = 200


@dataclass
class Search:
    """One run of Hypothesis; `examples` counts the calls before the first wrong one and that one, not those of shrinking.

    `key` names the object in the user's database, whose entries `read` makes calls of. `first` is the first wrong call, which
    numbers confirmed, `smallest` the smallest so far. `before(call)` is called before each call, `on_example(examples, found)`
    after it, and an exception that this raises ends the search.
    """

    examiner: Examiner
    strategy: SearchStrategy[CallRecipe]
    max_examples: int
    seed: int
    key: str
    read: Callable[[bytes], CallRecipe | None] = lambda text: None
    on_example: OnExample = lambda examples, found: None
    before: Callable[[CallRecipe], None] = lambda call: None
    examples: int = 0
    smallest: CallRecipe | None = None
    first: CallRecipe | None = None
    flaky: bool = False
    _tries: int = 0
    _known: dict[str, bool] = field(default_factory=dict)

    def run(self) -> CallRecipe | None:
        """Search, shrink, and write the numbers of a wrong call simply; None where every call is sound.

        The user's Hypothesis profile decides on the database, the phases and the verbosity.
        """
        base = settings()
        phases = [phase for phase in base.phases if phase not in (Phase.explain, Phase.explicit)]
        mine = settings(base, max_examples=self.max_examples, deadline=None, phases=phases, database=None)
        found = self._reused(base) if Phase.reuse in phases else None
        if found is not None:
            return self._simplified(found)
        try:
            found = find(self.strategy, self._is_wrong, settings=mine, random=Random(self.seed))
        except NoSuchExample:
            return None
        except Flaky:  # the same call was wrong and sound in turn
            self.flaky, found = True, self.smallest
        if found is not None and found.source and base.database is not None:
            base.database.save(self.key.encode(), found.source)
        return None if found is None else self._simplified(found)

    def _reused(self, base: settings) -> CallRecipe | None:
        """The first call in the user's database that is wrong still; those that are not are deleted from it.

        Hypothesis leaves the database alone where a seed is given, as it is here.
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
            wrong = self._is_wrong_still(call)
        else:
            self.examples += 1
            self.before(call)
            wrong = self.examiner.outcome(call) == "wrong"
            self.first = call if wrong else None
        if wrong and (self.smallest is None or call.elements <= self.smallest.elements):
            self.smallest = call
        self.on_example(self.examples, int(self.smallest is not None))
        return wrong

    def _is_wrong_still(self, call: CallRecipe) -> bool:
        """Whether a simpler call is wrong; several strings of bytes stand for one call, which is examined once."""
        key = repr(call)
        if key not in self._known:
            self.before(call)
            self._known[key] = self.examiner.is_wrong(call)
        return self._known[key]

    def _simplified(self, call: CallRecipe) -> CallRecipe:
        """The call with as many numbers as possible replaced by short ones, one tensor after the other."""
        for index, tensor in enumerate(call.tensors):
            if not KINDS[tensor.kind].elementwise or not 0 < math.prod(tensor.shape) <= _WRITTEN:
                continue
            found = next(self._kept(call, index, _all_at_once(tensor)), None)
            if found is not None:
                call = found
                continue
            for position in range(math.prod(tensor.shape)):
                call = next(self._kept(call, index, _one_at(call.tensors[index], position)), call)
        return call

    def _kept(self, call: CallRecipe, index: int, simpler: Iterator[TensorRecipe]) -> Iterator[CallRecipe]:
        """The calls with a simpler tensor that are wrong still."""
        for tensor in simpler:
            self._tries += 1
            if self._tries > _TRIES:
                return
            changed = replace(call, tensors=(*call.tensors[:index], tensor, *call.tensors[index + 1 :]))
            if self._is_wrong_still(changed):
                self.smallest = changed
                yield changed


def _all_at_once(tensor: TensorRecipe) -> Iterator[TensorRecipe]:
    given = tensor.with_written_values().values or ()
    yield from _allowed(tensor, [float(k + 1) for k in range(len(given))])
    for digits in (0, 1, 2):
        yield from _allowed(tensor, [round(float(value), digits) for value in given])


def _one_at(tensor: TensorRecipe, position: int) -> Iterator[TensorRecipe]:
    given = [float(value) for value in tensor.with_written_values().values or ()]
    for simple in (1.0, 2.0, *(round(given[position], digits) for digits in (0, 1, 2))):
        if simple == given[position]:
            return
        yield from _allowed(tensor, [simple if k == position else value for k, value in enumerate(given)])


def _allowed(tensor: TensorRecipe, values: list[float]) -> Iterator[TensorRecipe]:
    contains, numbers = KINDS[tensor.kind].contains, torch.tensor(values, dtype=torch.float64)
    if bool((numbers > -math.inf).all()) and (contains is None or bool(contains(numbers).all())):
        yield replace(tensor, profile=WRITTEN, values=tuple(values)).with_written_values()
