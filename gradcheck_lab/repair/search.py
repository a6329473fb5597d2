"""The search for a mend: single edits, then pairs, each tried on the call as given, and verified where it passes that."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FunctionType

from gradcheck_lab.edits.applied import applied, functions_alive
from gradcheck_lab.edits.edit import Edit, diff_of
from gradcheck_lab.edits.edits_of import edits_of
from gradcheck_lab.edits.kinds import MENDS
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.limits import FIRST_EDITS_OF_PAIRS, MORE_VERIFIED
from gradcheck_lab.model.suggestions import Suggestion
from gradcheck_lab.repair.mends import ordered, size_of, usual_and_others
from gradcheck_lab.repair.time_limit import OutOfTime, limited
from gradcheck_lab.repair.trial import Distances, Trial
from gradcheck_lab.repair.verified import Passed, Verification


@dataclass(frozen=True, slots=True)
class Tried:
    """Edits that were made one after the other, and how far from the truth the gradients were then."""

    edits: tuple[Edit, ...]
    distances: Distances

    @property
    def passes(self) -> bool:
        """Whether every gradient of the call is right."""
        return bool(self.distances) and not any(self.distances.values())

    @property
    def size(self) -> int:
        """How many characters the edits change."""
        return sum(map(size_of, self.edits))


@dataclass
class Search:
    """A search that ends `seconds` after it began, or with `most` suggestions. `tried` counts what was run."""

    trial: Trial
    verification: Verification
    most: int
    deadline: float
    tried: int = 0
    finished: bool = True
    kept: list[tuple[int, Suggestion]] = field(default_factory=list)
    _alive: dict[str, tuple[FunctionType, ...]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def run(self) -> list[Suggestion]:
        """The mends that were verified, single edits before pairs and small ones before large ones.

        What is for all sizes comes before what is for some, or leaves a warning. Raises `InvalidArgument` where the backward
        cannot be edited.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a mend warns of is seen when the user runs it
            self._run()
        return [each for _, each in sorted(self.kept, key=lambda each: each[0])][: self.most]

    def _run(self) -> None:
        errors = self.verification.errors
        before = self.trial.distances() or {}
        singles: list[Tried] = []
        for kinds in usual_and_others(errors):
            edits = ordered(edits_of(self.trial.op, kinds), errors)
            self._alive |= {path: functions_alive(path) for path in {edit.path for edit in edits} - set(self._alive)}
            for edit in edits:
                if self._is_over():
                    break
                if (tried := self._try((), edit)) is not None:
                    self._keep(tried)
                    singles.append(tried)
            if self.kept or self._is_over():
                return
        if any(before.values()) or not before:
            for pair in self._pairs(_promising(singles, before)):
                if self._is_over():
                    break
                self._keep(pair)

    def _is_over(self) -> bool:
        """Whether there is no time left, or enough was verified: where the first ones leave something, a few more are."""
        whole = sum(not remarks for remarks, _ in self.kept)
        if whole >= self.most or len(self.kept) >= self.most + MORE_VERIFIED.value:
            return True
        if time.perf_counter() >= self.deadline:
            self.finished = False
        return not self.finished

    def _try(self, outer: tuple[Edit, ...], edit: Edit) -> Tried | None:
        """Run the call with an edit, within the blocks of the outer ones; None where it raises, and where nothing runs it."""
        if edit.text in self._seen:
            return None
        self._seen.add(edit.text)
        with suppress(InvalidArgument), applied(edit, self._alive[edit.path]):
            self.tried += 1
            distances = self.trial.distances()
            return None if distances is None else Tried((*outer, edit), distances)
        return None

    def _pairs(self, firsts: Sequence[Tried]) -> Iterator[Tried]:
        """Pairs of edits that pass on the call as given, of those first edits that mend most."""
        for first in firsts[: FIRST_EDITS_OF_PAIRS.value]:
            if self._is_over():
                return
            (edit,) = first.edits
            with suppress(InvalidArgument), applied(edit, self._alive[edit.path]):
                seconds = ordered(edits_of(self.trial.op, MENDS), self.verification.errors)
                passing = []
                for second in seconds:
                    if self._is_over():
                        break
                    tried = self._try(first.edits, second)
                    if tried is not None and tried.passes:
                        passing.append(tried)
            yield from sorted(passing, key=lambda each: each.size)

    def _keep(self, tried: Tried) -> None:
        """Keep as a suggestion what passes on the call as given, if it passes the full check."""
        if tried.passes and (passed := self._verified(tried.edits)) is not None:
            self.kept.append((passed.remarks, _suggestion(tried, passed.checks)))

    def _verified(self, edits: tuple[Edit, ...]) -> Passed | None:
        if not edits:
            try:
                with limited(max(self.deadline - time.perf_counter(), 0)):
                    return self.verification.passed(self.trial.op)
            except OutOfTime:
                self.finished = False
                return None
            except InvalidArgument:
                return None
        with applied(edits[0], self._alive[edits[0].path]):
            return self._verified(edits[1:])


def _promising(singles: Sequence[Tried], before: Distances) -> list[Tried]:
    """The single edits after which a wrong gradient is right, or nearer to it; those that mend most first."""

    def left(tried: Tried) -> tuple[int, float]:
        wrong = [distance for distance in tried.distances.values() if distance]
        return len(wrong), sum(wrong)

    def gains(tried: Tried) -> bool:
        return any(d < before.get(name, float("inf")) for name, d in tried.distances.items()) if before else True

    return sorted((each for each in singles if not each.passes and gains(each)), key=left)


def _suggestion(tried: Tried, verified: tuple[str, ...]) -> Suggestion:
    first, last = tried.edits[0], tried.edits[-1]
    whole = Edit(first.kind, first.function, first.path, min(e.line for e in tried.edits), first.original, last.text)
    kinds = tuple(edit.kind for edit in tried.edits)
    diff = diff_of(first.path, first.original, last.text)
    return Suggestion(diff, first.path, whole.line, whole.before, whole.after, kinds, (), tried.size, verified)
