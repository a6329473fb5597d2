"""The gradient does not depend on how the inputs lie in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_tensor, is_differentiable
from gradcheck_lab.calls.layouts import SLICED, TRANSPOSED, expanded, placed_alike
from gradcheck_lab.calls.randomness import draws_random
from gradcheck_lab.model.exceptions import SINGULAR, class_name
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.probes.support.repeats import (
    first_differing_input,
    is_repeatable,
    outputs_equal_within_noise,
    repetition,
    run_on,
)


def input_layout(context: Context) -> Iterator[Finding]:
    """Give the same values transposed, sliced with an offset, and expanded where they repeat; all inputs, then one by one."""
    if not is_repeatable(context):
        return
    repeated = repetition(context)
    # torch's own kernels may read a module's parameters without strides (batch_norm's backward does): they stay as they are
    fixed = {i for i in range(len(context.case.inputs)) if _held(context, i)}
    plain = tuple(v.detach().clone() if isinstance(v, torch.Tensor) else v for v in context.case.inputs)
    base = Run(repeated.second.outputs, repeated.first)
    for each in (TRANSPOSED, SLICED):
        placed = tuple(each.place(v) if _movable(v) and i not in fixed else v for i, v in enumerate(plain))
        finding = _tried(context, each.words_of_input, plain, placed, base)
        if finding is not None:
            yield finding
            return
    spread = [i for i, v in enumerate(plain) if _movable(v) and is_differentiable(v) and i not in fixed]
    wide = tuple(expanded(v) if i in spread else v for i, v in enumerate(plain))
    if all(placed_alike(a, b) for a, b in zip(plain, wide, strict=True)):
        return
    contiguous = tuple(v.contiguous() if isinstance(v, torch.Tensor) else v for v in wide)
    twin = run_on(context, [_apart(v) for v in contiguous])
    if isinstance(twin, Run) and twin.error is None:
        finding = _tried(context, "expanded (stride 0)", contiguous, wide, twin)
        if finding is not None and not _right(context, wide, finding):
            yield finding


def _right(context: Context, inputs: Sequence[Any], finding: Finding) -> bool:
    """Whether the oracle finds nothing wrong with the gradient there: it is all rounding, as where its terms cancel."""
    if finding.gradient is None or not context.uses_autograd:
        return False
    found = context.against_oracle(context.case_with(inputs=tuple(_apart(value) for value in inputs)))
    results = [] if found is None else [c.result for c in found.comparisons if c.result.name == finding.gradient]
    return bool(results) and all(result.verdict == "pass" for result in results)


def _held(context: Context, index: int) -> bool:
    return context.subject.written_in_torch and index in context.subject.parameters


def _movable(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and value.ndim > 0 and value.numel() > 1


def _tried(context: Context, word: str, plain: Sequence[Any], placed: Sequence[Any], expected: Run) -> Finding | None:
    """The finding for these inputs in another layout, with the first one that suffices to show it."""
    moved = [i for i, (a, b) in enumerate(zip(plain, placed, strict=True)) if not placed_alike(a, b)]
    problem = _problem(context, placed, expected) if moved else None
    if problem is None:
        return None
    culprit = None
    for i in moved if len(moved) > 1 else ():
        alone = _problem(context, [placed[j] if j == i else v for j, v in enumerate(plain)], expected)
        if alone is not None:
            culprit, problem = i, alone
            break
    if len(moved) == 1:
        culprit = moved[0]
    what, gradient = problem
    where = "the inputs are" if culprit is None else f"{context.label(culprit)} is"
    name = "the inputs" if culprit is None else context.name(culprit)
    return Finding(
        "input-layout",
        "error",
        f"{what} when {where} {word}",
        gradient=gradient,
        explanation="equal values with other strides give another result",
        suggestion=f"call .contiguous() on {name} first, or index by strides; .reshape takes any layout and .view does not",
        probe="input_layout",
        case=f"{name} {word}",
    )


def _problem(context: Context, inputs: Sequence[Any], expected: Run) -> tuple[str, str | None] | None:
    run = run_on(context, [_apart(v) for v in inputs])
    if run is None:
        return None
    if class_name(run.error) in SINGULAR:
        return None  # a matrix of equal rows is singular, in any layout
    if run.error is not None:
        return f"backward raises {type(run.error).__name__}", None
    if not outputs_equal_within_noise(context, run.outputs, expected.outputs):
        # torch draws masks in the order of memory: another layout is then another call
        return None if _draws(context, inputs) else ("the output differs", None)
    at = first_differing_input(context, run.gradients, expected.gradients)
    return None if at is None else (f"gradient of {context.label(at)} differs", context.name(at))


def _apart(value: Any) -> Any:
    return copy_tensor(value) if isinstance(value, torch.Tensor) else value


def _draws(context: Context, inputs: Sequence[Any]) -> bool:
    """Whether the forward consumes random numbers."""
    context.record_on([_apart(v) for v in inputs], context.case)
    return draws_random(context.case.seed)
