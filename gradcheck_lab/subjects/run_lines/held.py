"""What the variables of the user's backward held one after the other: a gradient that was written over was there before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from gradcheck_lab.model.limits import HELD_LINES, HELD_VALUES
from gradcheck_lab.subjects.run_lines.evaluate import undisturbed
from gradcheck_lab.subjects.run_lines.watch import Watch

Slot = tuple[int, object]  # the frame, object or dictionary by its id, and the name or key there
_DEPTH = 2  # an attribute or entry of what a variable names, and one of that


def histories(run: Callable[[], object], shapes: Collection[tuple[int, ...]]) -> list[list[torch.Tensor]] | None:
    """Run the user's code, and give the values of these shapes that each of its variables held one after the other.

    Attributes of objects and entries of dictionaries are variables too. None where the run cannot be watched, as under a
    debugger, or does not come to its end.
    """
    if sys.gettrace() is not None:
        return None
    seen = _Histories(frozenset(shapes))
    sys.settrace(seen.of_call)
    try:
        run()
    except Exception:  # what it does on this call is known already
        return None
    finally:
        sys.settrace(None)
    return None if not seen.frames else [history for history in seen.held.values() if len(history) > 1]


class _Histories:
    def __init__(self, shapes: frozenset[tuple[int, ...]]) -> None:
        self.shapes, self.frames, self.lines = shapes, 0, 0
        self.held: dict[Slot, list[torch.Tensor]] = {}
        self._kept: list[Any] = []  # so that no other object takes the id of one that is gone
        self._users = Watch()

    def of_call(self, frame: FrameType, event: str, argument: object) -> Any:
        if not self._users.is_users(frame.f_code.co_filename):
            return None
        self.frames += 1
        self._kept.append(frame)
        return self.of_line

    def of_line(self, frame: FrameType, event: str, argument: object) -> Any:
        self.lines += 1
        if self.lines <= HELD_LINES.value:
            with undisturbed():
                for slot, value in self._slots(id(frame), frame.f_locals, _DEPTH):
                    self._note(slot, value)
        return self.of_line

    def _slots(self, owner: int, names: Mapping[Any, Any], depth: int) -> Iterator[tuple[Slot, torch.Tensor]]:
        for name, value in list(names.items()):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                value = torch.from_numpy(np.ascontiguousarray(value))
            if isinstance(value, torch.Tensor):
                if tuple(value.shape) in self.shapes and value.is_floating_point() and value.layout == torch.strided:
                    yield (owner, name), value
            elif depth and (inner := _entries(value)):
                self._kept.append(value)
                yield from self._slots(id(value), inner, depth - 1)

    def _note(self, slot: Slot, value: torch.Tensor) -> None:
        history = self.held.setdefault(slot, [])
        if len(history) < HELD_VALUES.value and not (history and torch.equal(history[-1], value.double())):
            history.append(value.detach().double().clone())


def _entries(value: Any) -> Mapping[Any, Any] | None:
    """What a dictionary or an object of the user's holds by name."""
    if isinstance(value, dict):
        return value
    if isinstance(value, type | ModuleType | FunctionType) or type(value).__module__.partition(".")[0] in ("torch", "numpy"):
        return None
    return getattr(value, "__dict__", None)
