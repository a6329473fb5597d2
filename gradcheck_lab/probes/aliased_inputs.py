"""One tensor passed in two places receives the sum of what each place would."""

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
    """Call f(x, x) and f(x, x.clone()) where two inputs have one shape and dtype."""
    if not is_repeatable(context):
        return
    slots = _slots(context)
    if len(slots) < 2:
        return
    inputs = context.case.inputs
    shared = inputs[slots[0]].detach().clone()
    clones = [shared.clone() if i in slots else _copy(v) for i, v in enumerate(inputs)]
    apart = run_on(context, clones)
    if apart is None or apart.error is not None:
        return
    together = run_on(context, [shared if i in slots else _copy(v) for i, v in enumerate(inputs)])
    # a forward that writes in place gives something else when its inputs are one
    written = not torch.equal(torch.nan_to_num(shared), torch.nan_to_num(inputs[slots[0]]))
    if together is None or written or not outputs_equal_within_noise(context, together.outputs, apart.outputs):
        return
    error = together.error
    names = " and ".join(context.label(i) for i in slots)
    if error is not None:
        message = f"backward raises {type(error).__name__} when {names} are the same tensor"
        yield _finding(context, slots, message, first_line(error), error)
        return
    wanted, found = _total(apart.gradients, slots), _total(together.gradients, slots)
    others = [i for i in compared_inputs(context) if i not in slots]
    wrong = next((i for i in others if not equal_within_noise(context, i, together.gradients[i], apart.gradients[i])), None)
    if not equal_within_noise(context, slots[0], found, wanted):
        explanation = "the sum of their gradients is not that of f(x, x.clone())"
        if (
            isinstance(wanted, torch.Tensor)
            and isinstance(found, torch.Tensor)
            and equal_within_noise(context, slots[0], 2 * found, wanted)
        ):
            explanation = "it is half of the one for f(x, x.clone()): one of the two terms is lost"
        yield _finding(context, slots, f"gradient is wrong when {names} are the same tensor", explanation, None)
    elif wrong is not None:
        message = f"gradient of {context.label(wrong)} is wrong when {names} are the same tensor"
        yield _finding(context, [wrong], message, "f(x, x.clone()) gives another one", None)


def _slots(context: Context) -> list[int]:
    """The first inputs of one shape, dtype and device that a caller can pass one tensor for."""
    inputs = context.case.inputs
    usual = [i for i in compared_inputs(context) if i not in context.subject.parameters]
    for k, i in enumerate(usual):
        alike_ones = [j for j in usual[k:] if _kind(inputs[j]) == _kind(inputs[i])]
        if len(alike_ones) > 1:
            return alike_ones
    return []


def _kind(value: torch.Tensor) -> tuple[Any, ...]:
    return tuple(value.shape), value.dtype, value.device


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _total(gradients: Sequence[Any], slots: Sequence[int]) -> Any:
    parts = [gradients[i] for i in slots if not is_zero(gradients[i])]
    return sum(parts[1:], parts[0]) if parts else None


def _finding(context: Context, slots: Sequence[int], message: str, explanation: str, error: Exception | None) -> Finding:
    return Finding(
        "aliased-inputs",
        "error",
        message,
        gradient=context.name(slots[0]),
        explanation=explanation,
        suggestion="return one gradient per input, each for its own place, however the inputs are shared",
        probe="aliased_inputs",
        case="one tensor in two places",
        traceback=user_traceback(error) if error is not None else None,
        stage="backward" if error is not None else "",
        exception=class_name(error),
    )
