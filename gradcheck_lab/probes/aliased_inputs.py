"""The gradient of a tensor that is passed as two inputs is the sum of both inputs' gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.user_errors import first_line, user_traceback
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.repeats import (
    compared_inputs,
    equal_within_noise,
    is_repeatable,
    is_zero,
    outputs_equal_within_noise,
    run_on,
)


def aliased_inputs(context: Context) -> Iterator[Finding]:
    """Compare f(x, x) with f(x, x.clone()) where two inputs have the same shape and dtype."""
    if not is_repeatable(context):
        return
    shared_inputs = _interchangeable_inputs(context)
    if len(shared_inputs) < 2:
        return
    inputs = context.case.inputs
    shared = inputs[shared_inputs[0]].detach().clone()
    clones = [shared.clone() if i in shared_inputs else _copy(v) for i, v in enumerate(inputs)]
    from_clones = run_on(context, clones)
    if from_clones is None or from_clones.error is not None:
        return
    from_shared = run_on(context, [shared if i in shared_inputs else _copy(v) for i, v in enumerate(inputs)])
    # a forward that writes to an input gives other outputs when its inputs are the same tensor
    was_written = not torch.equal(torch.nan_to_num(shared), torch.nan_to_num(inputs[shared_inputs[0]]))
    if from_shared is None or was_written or not outputs_equal_within_noise(context, from_shared.outputs, from_clones.outputs):
        return
    error = from_shared.error
    names = " and ".join(context.label(i) for i in shared_inputs)
    if error is not None:
        message = f"backward raises {type(error).__name__} when {names} are the same tensor"
        yield _finding(context, shared_inputs, message, first_line(error), error)
        return
    expected, found = _total(from_clones.gradients, shared_inputs), _total(from_shared.gradients, shared_inputs)
    others = [i for i in compared_inputs(context) if i not in shared_inputs]
    wrong = next(
        (i for i in others if not equal_within_noise(context, i, from_shared.gradients[i], from_clones.gradients[i])), None
    )
    if not equal_within_noise(context, shared_inputs[0], found, expected):
        explanation = "the sum of their gradients is not that of f(x, x.clone())"
        if (
            isinstance(expected, torch.Tensor)
            and isinstance(found, torch.Tensor)
            and equal_within_noise(context, shared_inputs[0], 2 * found, expected)
        ):
            explanation = "it is half of the one for f(x, x.clone()): one of the two terms is lost"
        yield _finding(context, shared_inputs, f"gradient is wrong when {names} are the same tensor", explanation, None)
    elif wrong is not None:
        message = f"gradient of {context.label(wrong)} is wrong when {names} are the same tensor"
        yield _finding(context, [wrong], message, "f(x, x.clone()) gives another one", None)


def _interchangeable_inputs(context: Context) -> list[int]:
    """The first inputs, parameters excluded, that share shape, dtype and device; empty where there are no two."""
    inputs = context.case.inputs
    usual = [i for i in compared_inputs(context) if i not in context.subject.parameters]
    for k, i in enumerate(usual):
        same_kind = [j for j in usual[k:] if _kind(inputs[j]) == _kind(inputs[i])]
        if len(same_kind) > 1:
            return same_kind
    return []


def _kind(value: torch.Tensor) -> tuple[Any, ...]:
    return tuple(value.shape), value.dtype, value.device


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _total(gradients: Sequence[Any], shared_inputs: Sequence[int]) -> Any:
    parts = [gradients[i] for i in shared_inputs if not is_zero(gradients[i])]
    return sum(parts[1:], parts[0]) if parts else None


def _finding(
    context: Context, shared_inputs: Sequence[int], message: str, explanation: str, error: Exception | None
) -> Finding:
    return Finding(
        "aliased-inputs",
        "error",
        message,
        gradient=context.name(shared_inputs[0]),
        explanation=explanation,
        suggestion="return one gradient per input, each for its own place, however the inputs are shared",
        probe="aliased_inputs",
        case="one tensor in two places",
        traceback=user_traceback(error) if error is not None else None,
        stage="backward" if error is not None else "",
        exception=class_name(error),
    )
