"""How far a campaign is, and an estimate of what is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gradcheck_lab.campaigns.cases import Case, Finished
from gradcheck_lab.campaigns.shards import expected_seconds


@dataclass(slots=True)
class Progress:
    """Counts what finishes. The estimate takes the pace of this run, weighed by how long each case took before.

    The pace is that from the first case on: before it, workers start.
    """

    planned: int
    before: int
    weights: dict[Case, float]
    clock: Callable[[], float] = time.monotonic
    verdicts: Counter[str] = field(default_factory=Counter)
    _began: float | None = None
    _done: float = 0.0
    _waiting: float = 0.0

    def __post_init__(self) -> None:
        self._waiting = sum(self.weights.values())

    @property
    def done(self) -> int:
        """The cases that are done, before this run and in it."""
        return self.before + self.verdicts.total()

    @property
    def left(self) -> float | None:
        """The seconds that are left, as estimated; None before two cases are done."""
        if self._began is None or not self._done:
            return None
        return (self.clock() - self._began) * self._waiting / self._done

    def count(self, finished: Finished) -> None:
        """Count a case that is done."""
        self.verdicts[finished.verdict] += 1
        weight = self.weights.pop(finished.case, 0.0)
        self._waiting = self._waiting - weight if self.weights else 0.0
        if self._began is None:
            self._began = self.clock()
        else:
            self._done += weight


def progress_of(planned: int, waiting: Sequence[Case]) -> Progress:
    """The progress of a run that has these cases before it, of all that are planned."""
    weights = dict(zip(waiting, expected_seconds(waiting), strict=True))
    return Progress(planned, planned - len(waiting), weights)
