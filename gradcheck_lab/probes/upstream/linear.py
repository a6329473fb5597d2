"""The gradient is linear in `grad_output`: it uses all of it, element by element, and that of every output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import bits, wide_dtype
from gradcheck_lab.model.precision.derived_calls import ADDS_UP_NOISE, ADDS_UP_ROUNDINGS, CUT_OFF
from gradcheck_lab.model.raised import raised_cause
from gradcheck_lab.model.user_errors import first_line, user_traceback
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.probes.support.repeats import (
    compared_inputs,
    equal_within_noise,
    is_repeatable,
    is_zero,
    repetition,
    run_copied,
)
from gradcheck_lab.probes.upstream.outputs import each_output
from gradcheck_lab.probes.upstream.scalar import hidden_by_equal_elements, scalarized

_PLAIN = "a gradient is a matrix product with grad_output: remove what is not linear in it"
_USE = "multiply by grad_output, element by element"


def upstream(context: Context) -> Iterator[Finding]:
    """Pass grad_output times -2, zero, another random one, the sum of the two, and very large and very small multiples.

    Then test whether one number stands for all elements, and each output by itself.
    """
    grads = context.case.grad_outputs or ()
    if repetition(context).takes_no_upstream or not is_repeatable(context):
        return
    generator = torch.Generator().manual_seed(context.case.seed + 1)
    other = tuple(random_like(g, generator) if is_differentiable(g) else g for g in grads)
    # a factor of a power of two leaves rounding unchanged, so a linear backward gives equal numbers
    upstreams = {
        "times -2": tuple(-2 * g if is_differentiable(g) else g for g in grads),
        "zero": tuple(torch.zeros_like(g) for g in grads),
        "another": other,
        "the sum of two": tuple(a + b if is_differentiable(a) else a for a, b in zip(grads, other, strict=True)),
    }
    scales = _scales(grads)
    upstreams |= {description: tuple(c * g if is_differentiable(g) else g for g in grads) for description, c in scales.items()}
    runs = {
        description: run_copied(context, context.case_with(grad_outputs=values)) for description, values in upstreams.items()
    }
    for description, run in runs.items():
        if run.error is not None:
            yield _raised(description, run.error)
            return
    explained = set()
    for index in compared_inputs(context):
        finding = (
            _ignored_upstream_finding(context, index, runs)
            or _not_linear_finding(context, index, runs)
            or _cut_off_finding(context, index, runs, scales)
        )
        if finding is not None:
            explained.add(index)
            yield finding
            if finding.cause == "upstream-ignored":
                yield from _wrong_at_ones(context, index)
    yield from scalarized(context, [i for i in compared_inputs(context) if i in context.wrong_inputs and i not in explained])
    yield from hidden_by_equal_elements(context, explained)
    yield from each_output(context, explained)


def _ignored_upstream_finding(context: Context, index: int, runs: dict[str, Run]) -> Finding | None:
    first, scaled = repetition(context).first[index], runs["times -2"].gradients[index]
    if is_zero(first) or not isinstance(first, torch.Tensor) or not isinstance(scaled, torch.Tensor):
        return None
    label = context.label(index)
    other = runs["another"].gradients[index]
    if not isinstance(other, torch.Tensor):
        return None
    if context.equal(scaled, -first) and context.equal(other.abs(), first.abs()):
        message = f"gradient of {label} only changes its sign when grad_output is multiplied by -2"
        explanation = "backward does not use the size of grad_output"
        return _finding(context, index, "upstream-ignored", message, explanation, _USE, "times -2")
    if not context.equal(other, first):
        return None  # it depends on grad_output
    if context.equal(scaled, first):
        message = f"gradient of {label} is unchanged when grad_output is multiplied by -2"
        return _finding(context, index, "upstream-ignored", message, "backward does not use grad_output", _USE, "times -2")
    return None


def _not_linear_finding(context: Context, index: int, runs: dict[str, Run]) -> Finding | None:
    first = repetition(context).first[index]
    scaled, zero, other, summed = (run.gradients[index] for run in list(runs.values())[:4])
    label, suggestion = context.label(index), _PLAIN
    if not isinstance(first, torch.Tensor):
        return None
    if isinstance(zero, torch.Tensor) and zero.shape == first.shape and bool(((zero != 0) & torch.isfinite(first)).any()):
        at_zero = "NaN" if bool(torch.isnan(zero).any()) else "not zero"
        message = f"gradient of {label} is {at_zero} when grad_output is zero"
        if at_zero == "not zero" and _right_at_ones(context, index):
            explanation = "a term of backward does not use grad_output: it is right only where that is 1"
            return _finding(context, index, "upstream-ignored", message, explanation, _USE, "zero")
        explanation = "backward divides by grad_output" if at_zero == "NaN" else "backward adds a term without grad_output"
        return _finding(context, index, "not-linear", message, explanation, suggestion, "zero")
    if not equal_within_noise(context, index, scaled, -2 * first):
        message = f"gradient of {label} is not -2 times as large when grad_output is multiplied by -2"
        return _finding(context, index, "not-linear", message, "backward is not linear in grad_output", suggestion, "times -2")
    if not _is_additive(context, index, summed, first, other):
        message = f"gradient of {label} for the sum of two grad_outputs is not the sum of their gradients"
        return _finding(
            context, index, "not-linear", message, "backward is not linear in grad_output", suggestion, "the sum of two"
        )
    return None


def _right_at_ones(context: Context, index: int) -> bool:
    """Whether a gradient that is wrong on the base case is right for a grad_output of ones."""
    return any(c.result.verdict == "pass" for c in _compared_at_ones(context, index))


def _wrong_at_ones(context: Context, index: int) -> Iterator[Finding]:
    """What else is wrong with a gradient that does not use grad_output: that of ones, which it can be right for, shows it."""
    for compared in _compared_at_ones(context, index):
        for finding in compared.findings:
            if finding.severity == "error":
                yield replace(finding, probe="upstream", case="grad_output of ones")


def _compared_at_ones(context: Context, index: int) -> list[Comparison]:
    if index not in context.wrong_inputs:
        return []
    ones = tuple(torch.ones_like(g) for g in context.case.grad_outputs or ())
    found = context.against_oracle(context.case_with(grad_outputs=ones), numeric=not context.uses_autograd)
    return [] if found is None else [c for c in found.comparisons if c.result.name == context.name(index)]


def _scales(grads: Sequence[torch.Tensor]) -> dict[str, float]:
    """A very large and a very small power of two, which leave rounding unchanged, by name; none for 16 bits."""
    fewest = min((bits(g.dtype) for g in grads if is_differentiable(g)), default=16)
    exponent = {64: 30, 32: 10}.get(fewest, 0)
    return {f"times 2**{k}": 2.0**k for k in (exponent, -exponent)} if exponent else {}


def _cut_off_finding(context: Context, index: int, runs: dict[str, Run], scales: dict[str, float]) -> Finding | None:
    """The finding that the gradient is clipped or flushed where grad_output is very large or very small; else None."""
    first = repetition(context).first[index]
    for description, c in scales.items():
        found = runs[description].gradients[index]
        if not isinstance(found, torch.Tensor) or not isinstance(first, torch.Tensor) or found.shape != first.shape:
            continue
        error, size = (float(torch.linalg.vector_norm(torch.nan_to_num(v))) for v in (found / c - first, first))
        # a forward that casts to a narrower dtype has a backward that does: their range is its own
        if error > CUT_OFF.value * size and not context.has_casts:
            message = f"gradient of {context.label(index)} does not grow with grad_output when that is"
            explanation = "backward clips, flushes or rounds what is very large or very small"
            return _finding(context, index, "not-linear", f"{message} {description}", explanation, _PLAIN, description)
    return None


def _is_additive(context: Context, index: int, summed: object, first: torch.Tensor, other: object) -> bool:
    """Whether b(u + v) is b(u) + b(v), within a tolerance so wide that only a backward that is not additive exceeds it."""
    if not isinstance(summed, torch.Tensor) or not isinstance(other, torch.Tensor) or summed.shape != first.shape:
        return is_zero(summed) and is_zero(other) and is_zero(first)
    wide = wide_dtype(first.dtype)
    a, b, c = first.to(wide), other.to(wide), summed.to(wide)
    finite = torch.isfinite(a) & torch.isfinite(b) & torch.isfinite(c)
    if not bool(finite.any()):
        return True
    eps = torch.finfo(first.dtype).eps
    allowed = max(eps**0.5, ADDS_UP_ROUNDINGS.value * eps) * float((a[finite].abs() + b[finite].abs()).max())
    allowed += float(torch.finfo(first.dtype).tiny)
    error = float((c - a - b)[finite].abs().max())
    if error <= allowed or equal_within_noise(context, index, summed, first + other):
        return True
    # where terms cancel the gradient may be all rounding error; three times the upstream, rounded otherwise, shows its size
    grads = context.case.grad_outputs or ()
    run_of_triple = run_copied(
        context, context.case_with(grad_outputs=tuple(3 * g if is_differentiable(g) else g for g in grads))
    )
    triple = run_of_triple.gradients[index] if run_of_triple.error is None else None
    return isinstance(triple, torch.Tensor) and error <= ADDS_UP_NOISE.value * float(
        (triple.to(wide) - 3 * a)[finite].abs().max()
    )


def _finding(
    context: Context, index: int, cause: str, message: str, explanation: str, suggestion: str, description: str
) -> Finding:
    return Finding(
        cause,
        "error",
        message,
        gradient=context.name(index),
        explanation=explanation,
        suggestion=suggestion,
        probe="upstream",
        case=f"grad_output {description}",
    )


def _raised(description: str, error: Exception) -> Finding:
    return Finding(
        raised_cause(error),
        "error",
        f"backward raised {type(error).__name__} when grad_output is {description}",
        explanation=first_line(error),
        suggestion="look at the backward's traceback below",
        probe="upstream",
        case=f"grad_output {description}",
        traceback=user_traceback(error),
        stage="backward",
        exception=class_name(error),
    )
