"""One kind of user object a file; each translates it, with the inputs of a call, to a `Subject`, or declines with None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradcheck_lab.adapters.op import adapt_op
from gradcheck_lab.adapters.program import adapt_program
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.subject import Subject

Adapter = Callable[[Any, tuple[Any, ...], dict[str, Any]], Subject | None]

ADAPTERS: tuple[Adapter, ...] = (adapt_op, adapt_program)


def adapt(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject:
    """Find the adapter for `value` and let it translate it with the inputs and options of a call.

    Raises `InvalidArgument` for an object that none of them knows, and for inputs or options that it cannot take.
    """
    for adapter in ADAPTERS:
        subject = adapter(value, inputs, options)
        if subject is not None:
            return subject
    raise InvalidArgument(
        f"cannot check an object of type {type(value).__name__}; pass gl.Op(forward, backward) or a function that calls ops"
    )
