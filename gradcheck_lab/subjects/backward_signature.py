"""Check that a hand-written backward takes an op's arguments, and show the wrapper to write where it does not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.rules.op import Op

_GRAD_OUTPUT = frozenset("g grad grad_out grad_output grad_outputs grads upstream cotangent dout dy dz da dl d_out".split())
_OUTPUT = frozenset("output outputs out result ans y_hat".split())


def require_signature(op: Op, inputs: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Raise `InvalidArgument` unless the op's backward takes `(grad_output, output, *inputs, **options)`.

    The message shows the one-line wrapper that makes it do so; a backward whose signature cannot be read is accepted.
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
    raise InvalidArgument(
        f"the backward of {op.name} takes {takes} and is called with ({called}); "
        f"wrap it: gl.Op({_called(op.forward, 'forward')}, {_wrapper(rule, signature, given, options)})"
    )


def _input_names(op: Op, count: int) -> tuple[str, ...]:
    return input_names(op.forward, count)


def _positional(signature: inspect.Signature) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in signature.parameters.values() if parameter.kind in kinds]


def _reordered(parameters: list[str], names: list[str]) -> bool:
    """Whether the names say that the inputs come first and the upstream gradient after them."""
    first, *others = parameters or [""]
    return first in names and first not in _GRAD_OUTPUT and any(name.lower() in _GRAD_OUTPUT for name in others)


def _wrapper(rule: Callable[..., Any], signature: inspect.Signature, given: list[str], options: Mapping[str, Any]) -> str:
    chosen = dict.fromkeys(_positional(signature))
    for parameter in chosen:
        if parameter in given[2:]:
            chosen[parameter] = parameter
        elif parameter.lower() in _GRAD_OUTPUT:
            chosen[parameter] = "grad_output"
        elif parameter.lower() in _OUTPUT:
            chosen[parameter] = "output"
    left = iter([name for name in ("grad_output", *given[2:], "output") if name not in chosen.values()])
    passed = [name or next(left, "...") for name in chosen.values()]
    keywords = [key for key in options if key not in chosen]
    takes_options = any(p.kind is p.VAR_KEYWORD or p.name in options for p in signature.parameters.values())
    passed += [f"{key}={key}" for key in keywords if takes_options]
    head = ", ".join([*given, *(f"{key}=None" for key in options)])
    return f"lambda {head}: {_called(rule, 'your_backward')}({', '.join(passed)})"


def _called(function: Callable[..., Any], otherwise: str) -> str:
    name = str(getattr(function, "__name__", otherwise))
    return name if name.isidentifier() else otherwise
