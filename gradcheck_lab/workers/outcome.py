"""How a call in a worker process ended, as plain data."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from traceback import format_exc
from typing import Any

from gradcheck_lab.model.exceptions import DeviceLost, MemoryRanOut
from gradcheck_lab.model.raised import ASYNCHRONOUS, NOT_AGAIN, WAITED_FOR, DeviceError, device_error
from gradcheck_lab.model.torch_messages import out_of_memory
from gradcheck_lab.model.user_errors import text_of


@dataclass(frozen=True, slots=True)
class Returned:
    """The call returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """The call raised an exception, kept as text since its class need not be importable in the parent."""

    kind: str
    message: str
    traceback: str

    def __str__(self) -> str:
        return f"raised {self.kind}: {self.message}"


@dataclass(frozen=True, slots=True)
class Exited:
    """The call raised `SystemExit` with this code."""

    code: str

    def __str__(self) -> str:
        return f"raised SystemExit({self.code}), which ends a process"


@dataclass(frozen=True, slots=True)
class Died:
    """The process of the call ended. `code` is its exit code, negative for a signal, None where it is not known."""

    code: int | None

    def __str__(self) -> str:
        if self.code is None:
            return "ended its process"
        if self.code >= 0:
            return f"ended its process with exit code {self.code}"
        try:
            return f"ended its process by signal {-self.code} ({signal.Signals(-self.code).name})"
        except ValueError:  # a real-time signal has no name
            return f"ended its process by signal {-self.code}"


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The call took longer than `seconds`; its process was killed."""

    seconds: float

    def __str__(self) -> str:
        return f"took longer than {self.seconds:g} seconds"


@dataclass(frozen=True, slots=True)
class MemoryExceeded:
    """The call ran out of memory: of the machine's, or of the bytes that it may take."""

    limit: int | None = None

    def __str__(self) -> str:
        return "ran out of memory" if self.limit is None else f"took more than {self.limit / 2**20:g} MiB of memory"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The process of the call sent what is no result, which `sent` says; the user's code can write where the result goes."""

    sent: str

    def __str__(self) -> str:
        return f"sent what is no result: {self.sent}"


@dataclass(frozen=True, slots=True)
class LostDevice:
    """The call ended the context of its device, which no call of the process can use any more.

    `doing` is what the process said of the call, `how` what is known of the line that launched the kernel.
    """

    error: DeviceError
    doing: str = ""
    how: str = ASYNCHRONOUS

    def __str__(self) -> str:
        return f"left its device unusable: {self.error.kind}: {self.error.message}"

    def again(self, second: Outcome, doing: str) -> LostDevice:
        """What is known once the call was made again with a wait for each kernel, and ended as `second` says."""
        if isinstance(second, LostDevice):
            return LostDevice(second.error, doing, WAITED_FOR)
        return replace(self, how=NOT_AGAIN)


Outcome = Returned | Raised | Exited | Died | TimedOut | MemoryExceeded | LostDevice | Unreadable


def outcome_of(function: Callable[..., Any], arguments: Sequence[Any] = ()) -> Outcome:
    """Call a function in this process, and return how the call ended.

    >>> outcome_of(int, ["7"])
    Returned(value=7)
    >>> str(Died(-6))
    'ended its process by signal 6 (SIGABRT)'
    """
    try:
        return Returned(function(*arguments))
    except SystemExit as error:
        return Exited("" if error.code is None else repr(error.code))
    except BaseException as error:
        if isinstance(error, MemoryRanOut) or out_of_memory(error):
            return MemoryExceeded()
        if isinstance(error, DeviceLost):
            return LostDevice(device_error(error))
        return Raised(type(error).__name__, text_of(error), format_exc())
