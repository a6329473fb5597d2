"""The adapter of a tuple `(forward, backward)`, which means the same as `gl.Op(forward, backward)`."""

from __future__ import annotations

from typing import Any

from gradcheck_lab.rules.op import Op
from gradcheck_lab.subjects.op import adapt_op
from gradcheck_lab.subjects.subject import Subject


def adapt_pair(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate a tuple of two callables; anything else is declined."""
    if not isinstance(value, tuple) or len(value) != 2 or not all(callable(function) for function in value):
        return None
    return adapt_op(Op(*value), inputs, options)
