"""What the check of this process is doing. A worker process writes it where its parent can read it when the worker is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.model.exceptions import MemoryRanOut
from gradcheck_lab.model.limits import SHOWN_VALUES
from gradcheck_lab.model.shown import cut
from gradcheck_lab.model.torch_messages import out_of_memory

AS_GIVEN = "the call as given"


@dataclass(frozen=True, slots=True)
class Watch:
    """`write` takes the words for what is done next, `known` what is known so far."""

    write: Callable[[str], object]
    known: Callable[[Any], object] = lambda report: None


@dataclass(slots=True)
class LastCall:
    """The call of the user's code that was made last: its `stage`, and `place` names the call that it belongs to."""

    stage: str = "forward"
    place: str = AS_GIVEN
    on: str = ""

    @property
    def words(self) -> str:
        """The call, as the start of a sentence."""
        return f"the {self.stage} of {self.place}{self.on}"


watches: list[Watch] = []  # those of a worker process; empty everywhere else
_last = LastCall()


def last_call() -> LastCall:
    """The call that was made last, which the errors of work that is not waited for are told of."""
    return _last


def probing(name: str = "") -> None:
    """Say that a probe derives calls from here on; an empty name stands for none."""
    _last.place = f"a call that the probe {name} made of {AS_GIVEN}" if name else AS_GIVEN


def refuse_without_memory(error: BaseException | None) -> None:
    """Raise `MemoryRanOut` in a worker process for an exception that says so."""
    if watches and error is not None and out_of_memory(error):
        raise MemoryRanOut from error


def calling(stage: str, values: Sequence[Any]) -> None:
    """Tell the watches that the user's code runs next, on these values."""
    _last.stage, _last.on = stage, ""
    if watches or any(map(is_elsewhere, values)):
        _last.on = f", on {', '.join(map(_text, values[: SHOWN_VALUES.value])) or 'nothing'},"
    for watch in watches:
        watch.write(_last.words)


def is_elsewhere(value: Any) -> bool:
    """Whether a value is a tensor on another device than the CPU; an object that raises whatever is asked of it is none."""
    try:
        return isinstance(value, torch.Tensor) and not value.is_cpu
    except Exception:
        return False


def _text(value: Any) -> str:
    if not isinstance(value, torch.Tensor) or value.is_nested:
        return cut(type(value).__name__)
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
