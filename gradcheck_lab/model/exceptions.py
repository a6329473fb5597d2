"""What an exception says by its class: whether code refuses a call, and why."""

from __future__ import annotations

# torch's is private and named with an underscore
SINGULAR = frozenset({"LinAlgError", "_LinAlgError"})
# raised on purpose: nothing else raises them
DELIBERATE = frozenset({"NotImplementedError", "InvalidArgument"})
# how Python code says that it does not take an argument
OF_ARGUMENTS = DELIBERATE | {"ValueError", "AssertionError", "TypeError", "KeyError"}


def class_name(error: BaseException | None) -> str | None:
    """The name of an exception's class, as `Finding.exception` holds it; None for none."""
    return None if error is None else type(error).__name__
