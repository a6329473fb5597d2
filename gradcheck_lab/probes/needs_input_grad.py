"""The gradient of an input is the same whichever other inputs require one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import FROZEN_PATTERNS
from gradcheck_lab.model.user_errors import first_line, user_traceback
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.repeats import (
    backward_and_engine,
    compared_inputs,
    equal_within_noise,
    is_repeatable,
    repetition,
)


def needs_input_grad(context: Context) -> Iterator[Finding]:
    """Let only one input require grad, then all but one, where the hand-written code can see which do."""
    inputs = compared_inputs(context)
    if not context.subject.called_by_engine or len(inputs) < 2 or not is_repeatable(context):
        return
    patterns = [frozenset({i}) for i in inputs[: FROZEN_PATTERNS.value]]
    patterns += [frozenset(inputs) - {i} for i in inputs[: FROZEN_PATTERNS.value]]
    for requiring_grad in dict.fromkeys(patterns):
        finding = _finding_for(context, requiring_grad, _description(context, requiring_grad, inputs))
        if finding is not None:
            yield finding
            return


def _description(context: Context, requiring_grad: frozenset[int], inputs: list[int]) -> str:
    if len(requiring_grad) == 1:
        return f"only {context.label(next(iter(requiring_grad)))} requires grad"
    frozen = next(i for i in inputs if i not in requiring_grad)
    return f"{context.label(frozen)} requires no grad"


def _finding_for(context: Context, requiring_grad: frozenset[int], description: str) -> Finding | None:
    given = [
        v.detach().clone().requires_grad_(i in requiring_grad)
        if isinstance(v, torch.Tensor) and i in compared_inputs(context)
        else v
        for i, v in enumerate(context.case.inputs)
    ]
    recording = context.record_on(given, context.case)
    if isinstance(recording, Exception):
        return None
    run, engine = backward_and_engine(context, recording, context.case.grad_outputs or (), context.case.seed)
    error = run.error
    if isinstance(error, NotImplementedError):  # it refuses on purpose
        return None
    if error is not None:
        message = f"backward raises {type(error).__name__} when {description}"
        return _finding(message, None, first_line(error), description, error)
    first_run = repetition(context).first
    for i in sorted(requiring_grad):
        if len(run.gradients) == len(first_run) and not _is_right(context, i, run.gradients, engine):
            explanation = "it differs from the one that it receives when every input requires grad"
            label = context.label(i)
            return _finding(f"gradient of {label} is wrong when {description}", context.name(i), explanation, description, None)
    return None


def _is_right(context: Context, index: int, gradients: tuple[Any, ...], engine: tuple[Any, ...] | None) -> bool:
    if equal_within_noise(context, index, gradients[index], repetition(context).first[index]):
        return True
    delivered = None if context.examined.run is None else context.examined.run.delivered
    return bool(engine and delivered and equal_within_noise(context, index, engine[index], delivered[index]))


def _finding(message: str, gradient: str | None, explanation: str, description: str, error: Exception | None) -> Finding:
    return Finding(
        "needs-input-grad",
        "error",
        message,
        gradient=gradient,
        explanation=explanation,
        suggestion="decide by ctx.needs_input_grad[i] for input i alone, and save what each wanted gradient needs",
        probe="needs_input_grad",
        case=description,
        traceback=user_traceback(error) if error is not None else None,
        stage="backward" if error is not None else "",
        exception=class_name(error),
    )
