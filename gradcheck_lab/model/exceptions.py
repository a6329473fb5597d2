"""Classes of exceptions by which code refuses a call, by name; and exceptions of the user's code that would end the process."""

from __future__ import annotations

from types import TracebackType
from typing import Any

# the class of torch is private; NumPy's has the same name without the underscore
SINGULAR = frozenset({"LinAlgError", "_LinAlgError"})
# only raised on purpose
DELIBERATE = frozenset({"NotImplementedError", "InvalidArgument"})
# raised by Python code that does not take an argument
OF_ARGUMENTS = DELIBERATE | {"ValueError", "AssertionError", "TypeError", "KeyError"}


class Passing(BaseException):
    """Raised by this package across the user's code, which does not catch it."""


class MemoryRanOut(Passing):
    """Raised in a worker process once memory ran out, which ends the worker: what it would find from then on is of no worth."""


class DeviceLost(Passing):
    """Raised once an accelerator no longer works, from the error that says so: every later call on it would raise that too.

    `words` name the call that was made last, as the start of a sentence, and `stage` says whether it was a forward.
    """

    def __init__(self, words: str, stage: str) -> None:
        super().__init__(words)
        self.words, self.stage = words, stage
        self.known: Any = None  # what was found before, on its way up


class WouldEndProcess(Exception):
    """An exception of the user's code that is no `Exception`, such as `SystemExit`, or that hides its class's name."""


class Contained:
    """A block that runs the user's code: what would end the process leaves it as an ordinary exception of the same name.

    `KeyboardInterrupt` passes, since the user may have typed it.

    >>> with Contained():
    ...     raise SystemExit(3)
    Traceback (most recent call last):
    gradcheck_lab.model.exceptions.SystemExit: 3
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None or isinstance(error, (KeyboardInterrupt, Passing)):
            return
        name = str(type.__dict__["__name__"].__get__(type(error)))  # which a metaclass may hide
        if not isinstance(error, Exception) or not _is_called(error, name):
            same = type(name, (WouldEndProcess,), {"__module__": __name__})
            raise same(*error.args).with_traceback(trace) from None


def _is_called(error: Exception, name: str) -> bool:
    try:
        return type(error).__name__ == name
    except Exception:
        return False


def class_name(error: BaseException | None) -> str | None:
    """The name of an exception's class, as `Finding.exception` holds it; None for none."""
    return None if error is None else type(error).__name__
