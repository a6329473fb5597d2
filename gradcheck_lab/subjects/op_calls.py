"""Detect ops that are called on tensors: torch would differentiate their forward, and their own backward would not run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gradcheck_lab.model.exceptions import Passing
from gradcheck_lab.rules.op import Op, active_recorder


class OpCalled(Passing):
    """Raised when `op` is called."""

    def __init__(self, op: Op) -> None:
        super().__init__(op.name)
        self.op = op


class _Refusal:
    def apply(self, op: Op, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_globals.get("__name__") == "torch.autograd.function":
                return op.forward(*inputs, **options)  # part of a hand-written Function, which is checked as a whole
            frame = frame.f_back
        raise OpCalled(op)


@contextmanager
def ops_refused() -> Iterator[None]:
    """Raise `OpCalled` at the first op that is called on tensors, outside the forward of a Function, before it runs."""
    token = active_recorder.set(_Refusal())
    try:
        yield
    finally:
        active_recorder.reset(token)
