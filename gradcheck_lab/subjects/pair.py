"""The adapter of a tuple `(forward, backward)`: a `gl.Op`, or, in NumPy or with a cache between the two, a layer of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gradcheck_lab.rules.methods import Methods
from gradcheck_lab.rules.naming import input_names
from gradcheck_lab.rules.op import Op, as_tuple
from gradcheck_lab.subjects.code.kept import Kept
from gradcheck_lab.subjects.first_call import result_of
from gradcheck_lab.subjects.forms.as_layers import Derivative, FunctionPair, named
from gradcheck_lab.subjects.forms.backward_plan import Plan, is_cache_name, parameter_names, plan_of
from gradcheck_lab.subjects.layers.adapter import layer_subject
from gradcheck_lab.subjects.layers.code import returned_names
from gradcheck_lab.subjects.layers.paths import is_array, is_number
from gradcheck_lab.subjects.op import adapt_op
from gradcheck_lab.subjects.readings.pairs import Pair, unread_pair
from gradcheck_lab.subjects.subject import Subject

PAIR = Methods("forward", "backward")


def adapt_pair(value: Any, inputs: tuple[Any, ...], options: dict[str, Any], title: str | None = None) -> Subject | None:
    """Translate a tuple of two callables; anything else is declined.

    The backward takes what its parameters are called: the upstream gradient, the output, inputs, or what the forward returned
    after its outputs, which may be several. Raises `InvalidArgument` where the names do not tell.
    """
    if not isinstance(value, tuple) or len(value) != 2 or not all(callable(function) for function in value):
        return None
    forward, backward = value
    names = input_names(forward, len(inputs))
    in_torch = all(v is None or isinstance(v, torch.Tensor) for v in inputs)
    plan = plan_of(backward, names, options, has_cache=False)
    if in_torch and plan is not None and plan.is_standard(len(inputs)) and not _takes_cache(backward):
        return adapt_op(Op(forward, backward, name=title), inputs, options)
    result = result_of(forward, inputs, options)
    if cached := returns_cache(result, backward):
        result = result[:-1]
    outputs = _output_names(forward, result[0] if cached and len(result) == 1 else result)
    if cached or plan is None or len(outputs) > 1:
        plan = plan_of(backward, names, options, has_cache=cached, outputs=outputs)
    if in_torch and plan is None and not _takes_cache(backward):
        return adapt_op(Op(forward, backward, name=title), inputs, options)
    if plan is None:
        problem = (
            f"cannot tell what the backward of {named(forward, 'the pair')} takes: its parameters are "
            f"{', '.join(parameter_names(backward)) or 'none'}"
        )
        raise unread_pair(problem, Pair(forward, backward, inputs, options, result_of(forward, inputs, options)))
    if in_torch and plan.takes_upstream and not plan.cached:
        subject = adapt_op(Op(forward, _reordered(backward, plan), name=title), inputs, options)
        arguments = tuple(Kept(f"argument {k}", n, frozenset({n})) for k, n in enumerate(parameter_names(backward)))
        return None if subject is None else replace(subject, backwards=lambda: (backward,), kept=lambda: arguments)
    pair = FunctionPair(forward, backward, plan) if plan.takes_upstream else Derivative(forward, backward, plan)
    return layer_subject(pair, title or named(forward, "pair"), PAIR, inputs, options, written=(forward, backward))


def _takes_cache(backward: Callable[..., Any]) -> bool:
    return any(is_cache_name(name) for name in parameter_names(backward))


def returns_cache(result: Any, backward: Callable[..., Any]) -> bool:
    """Whether the last of what a forward returned is no output, but what its backward needs."""
    if not isinstance(result, (tuple, list)) or len(result) < 2:
        return False
    return _takes_cache(backward) or not (
        is_array(result[-1]) or is_number(result[-1]) or isinstance(result[-1], (int, np.generic))
    )


def _output_names(forward: Callable[..., Any], outputs: Any) -> tuple[str, ...]:
    """A name for each output, from the forward's return statement; "" for one that has none there."""
    count = len(as_tuple(outputs))
    names = returned_names(forward) or ()
    return (*names[:count], *[""] * (count - len(names)))


def _reordered(backward: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    def rule(grad_output: Any, output: Any, *inputs: Any, **options: Any) -> Any:
        return backward(*plan.arguments(grad_output, output, inputs, None, options))

    return rule
