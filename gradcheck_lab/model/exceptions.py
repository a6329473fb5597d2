"""Classes of exceptions by which code refuses a call, by name."""

from __future__ import annotations

# the class of torch is private; NumPy's has the same name without the underscore
SINGULAR = frozenset({"LinAlgError", "_LinAlgError"})
# only raised on purpose
DELIBERATE = frozenset({"NotImplementedError", "InvalidArgument"})
# raised by Python code that does not take an argument
OF_ARGUMENTS = DELIBERATE | {"ValueError", "AssertionError", "TypeError", "KeyError"}


def class_name(error: BaseException | None) -> str | None:
    """The name of an exception's class, as `Finding.exception` holds it; None for none."""
    return None if error is None else type(error).__name__
