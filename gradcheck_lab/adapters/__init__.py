"""One kind of user object a file; each translates it to a `Subject`, or declines with None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradcheck_lab.adapters.op import adapt_op
from gradcheck_lab.adapters.program import adapt_program
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.subject import Subject

ADAPTERS: tuple[Callable[[Any], Subject | None], ...] = (adapt_op, adapt_program)


def adapt(value: Any) -> Subject:
    """Find the adapter for `value`.

    Raises `InvalidArgument` for an object that none of them knows.
    """
    for adapter in ADAPTERS:
        subject = adapter(value)
        if subject is not None:
            return subject
    raise InvalidArgument(
        f"cannot check an object of type {type(value).__name__}; pass gl.Op(forward, backward) or a function that calls ops"
    )
