"""Check that a hand-written backward takes an op's arguments, and show the wrapper to write where it does not."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.rules.op import Op
from gradcheck_lab.subjects.first_call import result_of
from gradcheck_lab.subjects.readings.pairs import Pair, unread_pair

_GRAD_OUTPUT = frozenset("g grad grad_out grad_output grad_outputs grads upstream cotangent dout dy dz da dl d_out".split())


def require_signature(op: Op, inputs: Sequence[Any], options: Mapping[str, Any], checked: bool = True) -> None:
    """Raise `InvalidArgument` unless the op's backward takes `(grad_output, output, *inputs, **options)`.

    The message shows the nearest readings and a wrapper; a backward whose signature cannot be read is accepted. An op that is
    not `checked` by itself is part of a program.
    """
    rule = op.rule
    if rule is None:
        return
    try:
        signature = inspect.signature(rule)
    except (TypeError, ValueError):
        return
    names = [name if name.isidentifier() else f"input_{i}" for i, name in enumerate(_input_names(op, len(inputs)))]
    given = ["grad_output", "output", *names]
    try:
        signature.bind(*given, **options)
    except TypeError:
        pass
    else:
        if not _reordered(_positional(signature), names):
            return
    bare = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    takes = signature.replace(parameters=bare, return_annotation=signature.empty)
    called = ", ".join([*given, *(f"{key}=" for key in options)])
    problem = f"the backward of {op.name} takes {takes} and is called with ({called})"
    result = result_of(op.forward, tuple(inputs), dict(options))
    raise unread_pair(problem, Pair(op.forward, rule, inputs, options, result, as_op=True, checked=checked))


def _input_names(op: Op, count: int) -> tuple[str, ...]:
    return input_names(op.forward, count)


def _positional(signature: inspect.Signature) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in signature.parameters.values() if parameter.kind in kinds]


def _reordered(parameters: list[str], names: list[str]) -> bool:
    """Whether the names say that the inputs come first and the upstream gradient after them."""
    first, *others = parameters or [""]
    return first in names and first not in _GRAD_OUTPUT and any(name.lower() in _GRAD_OUTPUT for name in others)
