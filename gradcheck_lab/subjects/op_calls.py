"""Notices ops that are called on tensors, where their forward runs and torch, not their rule, differentiates it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gradcheck_lab.rules.op import Op, active_recorder


class OpCalled(BaseException):
    """Ends the run in which `op` was called; no `Exception`, so that the user's code does not catch it."""

    def __init__(self, op: Op) -> None:
        super().__init__(op.name)
        self.op = op


class _Refusal:
    def apply(self, op: Op, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_globals.get("__name__") == "torch.autograd.function":
                return op.forward(*inputs, **options)  # part of a hand-written Function, which is one piece
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
