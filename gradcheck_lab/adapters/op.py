"""`gl.Op`, and everything in `gradcheck_lab.ops`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.op import Op, as_tuple, missing_backward
from gradcheck_lab.subject import Manual, Recording, Subject, Trace, importable


def adapt_op(value: Any) -> Subject | None:
    """Translate an `Op`; anything else is declined."""
    if not isinstance(value, Op):
        return None
    op = value
    if op.rule is None:
        raise InvalidArgument(missing_backward(op.name))

    def record(inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
        with torch.no_grad():
            output = op.forward(*inputs, **options)
        several = isinstance(output, (tuple, list))
        outputs = as_tuple(output)

        def backward(grad_outputs: tuple[torch.Tensor, ...]) -> Manual:
            with torch.no_grad():
                return Manual(
                    op.backward(
                        grad_outputs if several else grad_outputs[0],
                        outputs if several else outputs[0],
                        *inputs,
                        **options,
                    )
                )

        return Recording(outputs, several, backward)

    def trace(inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        return Trace(as_tuple(op.forward(*inputs, **options)))

    return Subject(op.name, "op", op.names, record, trace, op.validate, importable(op), op.specs, op)
