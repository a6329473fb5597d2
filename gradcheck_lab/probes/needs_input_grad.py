"""A wanted gradient is the same whichever other inputs require one."""

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
    """Let each input alone require grad, and each one alone be frozen, where the hand-written code can see it."""
    inputs = compared_inputs(context)
    if not context.subject.called_by_engine or len(inputs) < 2 or not is_repeatable(context):
        return
    patterns = [frozenset({i}) for i in inputs[: FROZEN_PATTERNS.value]]
    patterns += [frozenset(inputs) - {i} for i in inputs[: FROZEN_PATTERNS.value]]
    for wanted in dict.fromkeys(patterns):
        finding = _tried(context, wanted, _words(context, wanted, inputs))
        if finding is not None:
            yield finding
            return


def _words(context: Context, wanted: frozenset[int], inputs: list[int]) -> str:
    if len(wanted) == 1:
        return f"only {context.label(next(iter(wanted)))} requires grad"
    frozen = next(i for i in inputs if i not in wanted)
    return f"{context.label(frozen)} requires no grad"


def _tried(context: Context, wanted: frozenset[int], words: str) -> Finding | None:
    given = [
        v.detach().clone().requires_grad_(i in wanted) if isinstance(v, torch.Tensor) and i in compared_inputs(context) else v
        for i, v in enumerate(context.case.inputs)
    ]
    recording = context.record_on(given, context.case)
    if isinstance(recording, Exception):
        return None
    run, engine = backward_and_engine(context, recording, context.case.grad_outputs or (), context.case.seed)
    error = run.error
    if isinstance(error, NotImplementedError):  # an honest refusal
        return None
    if error is not None:
        message = f"backward raises {type(error).__name__} when {words}"
        return _finding(message, None, first_line(error), words, error)
    first_run = repetition(context).first
    for i in sorted(wanted):
        if len(run.gradients) == len(first_run) and not _right(context, i, run.gradients, engine):
            explanation = "it differs from the one that it receives when every input requires grad"
            label = context.label(i)
            return _finding(f"gradient of {label} is wrong when {words}", context.name(i), explanation, words, None)
    return None


def _right(context: Context, index: int, gradients: tuple[Any, ...], engine: tuple[Any, ...] | None) -> bool:
    if equal_within_noise(context, index, gradients[index], repetition(context).first[index]):
        return True
    delivered = None if context.examined.run is None else context.examined.run.delivered
    return bool(engine and delivered and equal_within_noise(context, index, engine[index], delivered[index]))


def _finding(message: str, gradient: str | None, explanation: str, words: str, error: Exception | None) -> Finding:
    return Finding(
        "needs-input-grad",
        "error",
        message,
        gradient=gradient,
        explanation=explanation,
        suggestion="decide by ctx.needs_input_grad[i] for input i alone, and save what each wanted gradient needs",
        probe="needs_input_grad",
        case=words,
        traceback=user_traceback(error) if error is not None else None,
        stage="backward" if error is not None else "",
        exception=class_name(error),
    )
