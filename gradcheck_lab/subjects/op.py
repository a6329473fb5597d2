"""The adapter of `gl.Op`, and so of everything in `gradcheck_lab.ops`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.arguments import wanted_of
from gradcheck_lab.rules.op import Op, as_tuple, missing_backward
from gradcheck_lab.subjects.array_options import with_array_inputs
from gradcheck_lab.subjects.backward_signature import require_signature
from gradcheck_lab.subjects.code.kept import arguments_of
from gradcheck_lab.subjects.subject import Manual, Recording, Subject, Trace, importable, input_labels


def adapt_op(value: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Subject | None:
    """Translate an `Op`; anything else is declined."""
    if not isinstance(value, Op):
        return None
    if value.rule is None:
        raise InvalidArgument(missing_backward(value.name))
    require_tensors(value.name, inputs)
    value.validate(inputs, options)
    require_signature(value, inputs, options)
    op, further = with_array_inputs(value, len(inputs), options)
    labels = input_labels(op.names(len(inputs)))
    inputs, constants = (*inputs, *further), frozenset(range(len(inputs), len(inputs) + len(further)))
    floating = frozenset(i for i, v in enumerate(inputs) if is_differentiable(v))
    wanted = None if value.wrt is None else wanted_of(value.wrt, value.name, op.names(len(inputs)), floating)

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

    def forward(inputs: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        return as_tuple(op.forward(*inputs, **options))

    def trace(inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int]) -> Trace:
        return Trace(forward(inputs, options))

    names = op.names(len(inputs))
    return Subject(
        name=op.name,
        kind="op",
        inputs=inputs,
        names=names,
        labels=(*labels, *(f"option {name!r}" for name in names[len(labels) :])),
        record=record,
        trace=trace,
        forward=forward,
        target=importable(value),
        specs=op.specs,
        constants=constants if wanted is None else floating - wanted,
        op=op,
        signature=op.forward,
        declared=_declared(value, floating) if wanted is None else wanted,
        backwards=lambda: (value.rule,),
        kept=lambda: arguments_of(value.rule, names),
    )


def _declared(op: Op, floating: frozenset[int]) -> frozenset[int]:
    """The floating inputs that have a spec, which says that they have a gradient."""
    return floating if op.specs else frozenset()


def require_tensors(name: str, inputs: tuple[Any, ...]) -> None:
    """Raise `InvalidArgument` unless every input is a tensor or None."""
    for index, value in enumerate(inputs):
        if value is not None and not isinstance(value, torch.Tensor):
            raise InvalidArgument(
                f"input {index} of {name} is a {type(value).__name__}; pass a tensor, such as "
                f"torch.as_tensor(..., dtype=torch.float64), or give it by keyword in options="
            )
