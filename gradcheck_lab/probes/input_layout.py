"""The gradient does not depend on how the inputs lie in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_tensor, is_differentiable
from gradcheck_lab.calls.layouts import SLICED, TRANSPOSED, expanded, has_same_layout
from gradcheck_lab.calls.randomness import draws_random
from gradcheck_lab.calls.tensor_kinds import what_else
from gradcheck_lab.model.exceptions import SINGULAR, class_name
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.oracles.autograd.replayed_draws import RecordedDraws
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.probes.support.repeats import (
    first_differing_input,
    is_repeatable,
    outputs_equal_within_noise,
    repetition,
    run_on,
)


def input_layout(context: Context) -> Iterator[Finding]:
    """Pass the same values transposed, sliced with an offset, transposed in some inputs alone, and equal values expanded."""
    if not is_repeatable(context):
        return
    repeated = repetition(context)
    # torch's own kernels may ignore the strides of a module's parameters, as batch_norm's backward does: leave them as they are
    left_as_is = {i for i in range(len(context.case.inputs)) if _is_torch_parameter(context, i)}
    plain = tuple(v.detach().clone() if isinstance(v, torch.Tensor) else v for v in context.case.inputs)
    base = Run(repeated.second.outputs, repeated.first)
    strided = [i for i, v in enumerate(plain) if _can_be_strided(v) and i not in left_as_is]
    for each, chosen in ((TRANSPOSED, strided), (SLICED, strided), *((TRANSPOSED, part) for part in _parts(strided))):
        placed = tuple(each.apply(v) if i in chosen else v for i, v in enumerate(plain))
        finding = _finding_for(context, each.words_of_input, plain, placed, base)
        if finding is not None:
            yield finding
            return
    expandable = [i for i, v in enumerate(plain) if _can_be_strided(v) and is_differentiable(v) and i not in left_as_is]
    expanded_inputs = tuple(expanded(v) if i in expandable else v for i, v in enumerate(plain))
    if all(has_same_layout(a, b) for a, b in zip(plain, expanded_inputs, strict=True)):
        return
    contiguous = tuple(v.contiguous() if isinstance(v, torch.Tensor) else v for v in expanded_inputs)
    contiguous_run = run_on(context, [_copy(v) for v in contiguous])
    if isinstance(contiguous_run, Run) and contiguous_run.error is None:
        # rows are equal now: what rounding makes of that is seen at these values
        expanded_context = context.for_case(context.runner, context.case_with(inputs=contiguous))
        finding = _finding_for(expanded_context, "expanded (stride 0)", contiguous, expanded_inputs, contiguous_run, tied=True)
        if finding is not None and not _is_right_by_oracle(context, expanded_inputs, finding):
            yield finding


def _parts(indices: Sequence[int]) -> list[list[int]]:
    """Some of the inputs at a time, so that any two of them lie unlike once: a rule may take one's strides for another's.

    >>> _parts([0, 1, 2])
    [[1], [2]]
    """
    places = range((len(indices) - 1).bit_length() if indices else 0)
    return [[i for k, i in enumerate(indices) if k >> place & 1] for place in places]


def _is_right_by_oracle(context: Context, inputs: Sequence[Any], finding: Finding) -> bool:
    """Whether the gradient passes against the oracle: the difference is then rounding, or another choice among tied values."""
    if finding.gradient is None:
        return False
    case = context.case_with(inputs=tuple(_copy(value) for value in inputs))
    found = context.against_oracle(case, numeric=not context.uses_autograd)
    results = [] if found is None else [c.result for c in found.comparisons if c.result.name == finding.gradient]
    return bool(results) and all(result.verdict == "pass" for result in results)


def _is_torch_parameter(context: Context, index: int) -> bool:
    return context.subject.written_in_torch and index in context.subject.parameters


def _can_be_strided(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and what_else(value) is None and value.ndim > 0 and value.numel() > 1


def _finding_for(
    context: Context, layout: str, plain: Sequence[Any], placed: Sequence[Any], expected: Run, tied: bool = False
) -> Finding | None:
    """The finding for these inputs in another layout; names the first input that alone shows it, if any does."""
    moved = [i for i, (a, b) in enumerate(zip(plain, placed, strict=True)) if not has_same_layout(a, b)]
    problem = _problem(context, placed, expected, tied) if moved else None
    if problem is None:
        return None
    culprit = None
    for i in moved if len(moved) > 1 else ():
        of_one_input = _problem(context, [placed[j] if j == i else v for j, v in enumerate(plain)], expected, tied)
        if of_one_input is not None:
            culprit, problem = i, of_one_input
            break
    if len(moved) == 1:
        culprit = moved[0]
    what, gradient = problem
    where = "the inputs are" if culprit is None else f"{context.label(culprit)} is"
    name = "the inputs" if culprit is None else context.name(culprit)
    return Finding(
        "input-layout",
        "error",
        f"{what} when {where} {layout}",
        gradient=gradient,
        explanation="equal values with other strides give another result",
        suggestion=f"call .contiguous() on {name} first, or index by strides; .reshape takes any layout and .view does not",
        probe="input_layout",
        case=f"{name} {layout}",
    )


def _problem(context: Context, inputs: Sequence[Any], expected: Run, tied: bool) -> tuple[str, str | None] | None:
    run = run_on(context, [_copy(v) for v in inputs])
    if run is None:
        return None
    if class_name(run.error) in SINGULAR:
        return None  # expanding made the rows equal, and the matrix singular
    if run.error is not None:
        return f"backward raises {type(run.error).__name__}", None
    if not outputs_equal_within_noise(context, run.outputs, expected.outputs, tied):
        # torch fills random masks in memory order, so another layout gets another mask
        return None if _draws_random(context, inputs) else ("the output differs", None)
    at = first_differing_input(context, run.gradients, expected.gradients)
    return None if at is None else (f"gradient of {context.label(at)} differs", context.name(at))


def _copy(value: Any) -> Any:
    return copy_tensor(value) if isinstance(value, torch.Tensor) else value


def _draws_random(context: Context, inputs: Sequence[Any]) -> bool:
    """Whether the forward draws random numbers, also where it puts the generators back."""
    draws = RecordedDraws()
    with draws.record():
        context.record_on([_copy(v) for v in inputs], context.case)
    return bool(draws.drawn) or draws_random(context.case.seed)
