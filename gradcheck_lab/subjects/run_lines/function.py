"""One function of the user's while calls run it: the lines that ran, and the sides of its conditions that elements took."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.model.limits import UNKNOWN_CONDITIONS, WATCHED_ELEMENTS
from gradcheck_lab.subjects.run_lines.conditions import Condition, conditions_of
from gradcheck_lab.subjects.run_lines.evaluate import Names, Unknown, undisturbed, value_of
from gradcheck_lab.subjects.run_lines.source import Scope, lines_of, scope_of
from gradcheck_lab.subjects.run_lines.statements import worth_running


@dataclass(frozen=True, slots=True)
class Operands:
    """Both sides of a comparison in numbers: the usual size of the left, its difference from the right, and that's range.

    `bounds` are the least and the largest value of the right.
    """

    size: float
    bounds: tuple[float, float]
    difference: float
    spread: float


@dataclass(slots=True)
class Watched:
    """A condition with the sides that elements took; `elements` says that it was asked of several, `first` with which values.

    One that could not be followed is `lost`: nothing is said of it.
    """

    condition: Condition
    taken: set[bool] = field(default_factory=set)
    elements: bool = False
    first: Operands | None = None
    unknown: int = 0
    lost: bool = False

    @property
    def is_open(self) -> bool:
        """Whether a side is missing yet."""
        return len(self.taken) < 2 and not self.lost

    def look(self, names: Names) -> None:
        """Evaluate it on what a function sees just before it does so itself."""
        try:
            with undisturbed():
                self._look(names)
        except (Unknown, KeyError, AttributeError):  # code of the user's, or a name that is not bound yet
            self.unknown += 1
            self.lost = self.unknown >= UNKNOWN_CONDITIONS.value
        except Exception:  # values that it is not made for
            self.lost = True

    def _look(self, names: Names) -> None:
        met = value_of(self.condition.test, names)
        if isinstance(met, np.ndarray | np.bool_):
            met = torch.from_numpy(np.asarray(met))
        if not isinstance(met, torch.Tensor) or met.dtype != torch.bool or met.numel() > WATCHED_ELEMENTS.value:
            self.lost = isinstance(met, torch.Tensor) and met.numel() > WATCHED_ELEMENTS.value
            return
        if not met.numel():
            return
        self.elements |= not self.condition.decides
        if bool(met.any()):
            self.taken.add(True)
        if not bool(met.all()):
            self.taken.add(False)
        if self.first is None and self.is_open and self.condition.operands is not None:
            self.first = _operands(*(value_of(side, names) for side in self.condition.operands))


def _operands(left: Any, right: Any) -> Operands | None:
    pair = [torch.as_tensor(side).detach().double() for side in (left, right)]
    if not all(side.numel() and bool(torch.isfinite(side).all()) for side in pair):
        return None
    difference = pair[0] - pair[1]
    spread = float(difference.max() - difference.min())
    bounds = float(pair[1].min()), float(pair[1].max())
    return Operands(float(pair[0].abs().median()), bounds, float(difference.median()), spread)


@dataclass(frozen=True, slots=True)
class _Read:
    """What the source of a code object says: its definition, the first line of the statement of each line, its conditions."""

    scope: Scope | None
    first: dict[int, int]
    conditions: tuple[Condition, ...]


@lru_cache(maxsize=512)
def _read(code: CodeType) -> _Read:
    scope, lines = scope_of(code), lines_of(code)
    if scope is None:
        return _Read(None, {}, ())
    first = {line: first for first, own in worth_running(scope, lines).items() for line in own}
    return _Read(scope, first, conditions_of(scope, lines))


class Function:
    """What is known of one code object; nothing is asked of one whose source cannot be read."""

    def __init__(self, code: CodeType) -> None:
        self.code, read = code, _read(code)
        self.scope, self._first = read.scope, read.first
        self.missing = set(read.first.values())
        self.watched: dict[int, list[Watched]] = {}
        for condition in read.conditions:
            self.watched.setdefault(condition.line, []).append(Watched(condition))

    @property
    def is_open(self) -> bool:
        """Whether lines or sides are missing yet."""
        return bool(self.missing) or any(each.is_open for group in self.watched.values() for each in group)

    def runs(self, line: int, frame: FrameType) -> bool:
        """Take note that a line runs next in a frame; whether its next run may show more."""
        self.missing.discard(self._first.get(line, -1))
        waiting = [each for each in self.watched.get(line, ()) if each.is_open]
        if waiting:
            names = Names(frame.f_locals, frame.f_globals)
            for each in waiting:
                each.look(names)
        return any(each.is_open for each in waiting)
