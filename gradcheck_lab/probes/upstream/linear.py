"""The gradient is linear in `grad_output`: it uses all of it, element by element, and that of every output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import bits, wide_dtype
from gradcheck_lab.model.precision.derived_calls import ADDS_UP_NOISE, ADDS_UP_ROUNDINGS, CUT_OFF
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
from gradcheck_lab.probes.upstream.scalar import scalarized

_PLAIN = "a gradient is a matrix product with grad_output: remove what is not linear in it"
_USE = "multiply by grad_output, element by element"


def upstream(context: Context) -> Iterator[Finding]:
    """Give the upstream times -2, zero, another random one and the sum with it, very large and very small; then each
    output's alone.
    """
    grads = context.case.grad_outputs or ()
    if repetition(context).takes_no_upstream or not is_repeatable(context):
        return
    generator = torch.Generator().manual_seed(context.case.seed + 1)
    other = tuple(random_like(g, generator) if is_differentiable(g) else g for g in grads)
    # a power of two leaves every rounding as it was, so that linear means equal
    words = {
        "times -2": tuple(-2 * g if is_differentiable(g) else g for g in grads),
        "zero": tuple(torch.zeros_like(g) for g in grads),
        "another": other,
        "the sum of two": tuple(a + b if is_differentiable(a) else a for a, b in zip(grads, other, strict=True)),
    }
    scales = _scales(grads)
    words |= {word: tuple(c * g if is_differentiable(g) else g for g in grads) for word, c in scales.items()}
    runs = {word: run_copied(context, context.case_with(grad_outputs=values)) for word, values in words.items()}
    for word, run in runs.items():
        if run.error is not None:
            yield _raised(word, run.error)
            return
    explained = set()
    for index in compared_inputs(context):
        finding = _unused(context, index, runs) or _bent(context, index, runs) or _cut(context, index, runs, scales)
        if finding is not None:
            explained.add(index)
            yield finding
    yield from scalarized(context, [i for i in compared_inputs(context) if i in context.wrong_inputs and i not in explained])
    yield from each_output(context, explained)


def _unused(context: Context, index: int, runs: dict[str, Run]) -> Finding | None:
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
        return None  # it uses it, if only its direction
    if context.equal(scaled, first):
        message = f"gradient of {label} is unchanged when grad_output is multiplied by -2"
        return _finding(context, index, "upstream-ignored", message, "backward does not use grad_output", _USE, "times -2")
    return None


def _bent(context: Context, index: int, runs: dict[str, Run]) -> Finding | None:
    first = repetition(context).first[index]
    scaled, zero, other, summed = (run.gradients[index] for run in list(runs.values())[:4])
    label, suggestion = context.label(index), _PLAIN
    if not isinstance(first, torch.Tensor):
        return None
    if isinstance(zero, torch.Tensor) and zero.shape == first.shape and bool(((zero != 0) & torch.isfinite(first)).any()):
        given = "NaN" if bool(torch.isnan(zero).any()) else "not zero"
        message = f"gradient of {label} is {given} when grad_output is zero"
        if given == "not zero" and _right_at_ones(context, index):
            explanation = "a term of backward does not use grad_output: it is right only where that is 1"
            return _finding(context, index, "upstream-ignored", message, explanation, _USE, "zero")
        explanation = "backward divides by grad_output" if given == "NaN" else "backward adds a term without grad_output"
        return _finding(context, index, "not-linear", message, explanation, suggestion, "zero")
    if not equal_within_noise(context, index, scaled, -2 * first):
        message = f"gradient of {label} is not -2 times as large when grad_output is multiplied by -2"
        return _finding(context, index, "not-linear", message, "backward is not linear in grad_output", suggestion, "times -2")
    if not _adds_up(context, index, summed, first, other):
        message = f"gradient of {label} for the sum of two grad_outputs is not the sum of their gradients"
        return _finding(
            context, index, "not-linear", message, "backward is not linear in grad_output", suggestion, "the sum of two"
        )
    return None


def _right_at_ones(context: Context, index: int) -> bool:
    """Whether a gradient that is wrong for the given upstream is right for one of ones, as if that were all there is."""
    if index not in context.wrong_inputs:
        return False
    ones = tuple(torch.ones_like(g) for g in context.case.grad_outputs or ())
    found = context.against_oracle(context.case_with(grad_outputs=ones), numeric=not context.uses_autograd)
    return found is not None and any(
        c.result.name == context.name(index) and c.result.verdict == "pass" for c in found.comparisons
    )


def _scales(grads: Sequence[torch.Tensor]) -> dict[str, float]:
    """Very large and very small factors, powers of two that leave roundings as they were; none for 16 bits."""
    fewest = min((bits(g.dtype) for g in grads if is_differentiable(g)), default=16)
    exponent = {64: 30, 32: 10}.get(fewest, 0)
    return {f"times 2**{k}": 2.0**k for k in (exponent, -exponent)} if exponent else {}


def _cut(context: Context, index: int, runs: dict[str, Run], scales: dict[str, float]) -> Finding | None:
    """Whether elements are cut off or dropped where the upstream is very large or very small."""
    first = repetition(context).first[index]
    for word, c in scales.items():
        found = runs[word].gradients[index]
        if not isinstance(found, torch.Tensor) or not isinstance(first, torch.Tensor) or found.shape != first.shape:
            continue
        error = torch.nan_to_num(found / c - first)
        if float(torch.linalg.vector_norm(error)) > CUT_OFF.value * float(torch.linalg.vector_norm(torch.nan_to_num(first))):
            message = f"gradient of {context.label(index)} does not grow with grad_output when that is"
            explanation = "backward clips, flushes or rounds what is very large or very small"
            return _finding(context, index, "not-linear", f"{message} {word}", explanation, _PLAIN, word)
    return None


def _adds_up(context: Context, index: int, summed: object, first: torch.Tensor, other: object) -> bool:
    """Whether b(u + v) is b(u) + b(v), coarsely: what is homogeneous and yet not additive is far from it."""
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
    # a gradient whose terms cancel is rounding noise: three times the upstream rounds otherwise and shows how much
    grads = context.case.grad_outputs or ()
    thrice = run_copied(context, context.case_with(grad_outputs=tuple(3 * g if is_differentiable(g) else g for g in grads)))
    third = thrice.gradients[index] if thrice.error is None else None
    return isinstance(third, torch.Tensor) and error <= ADDS_UP_NOISE.value * float(
        (third.to(wide) - 3 * a)[finite].abs().max()
    )


def _finding(context: Context, index: int, cause: str, message: str, explanation: str, suggestion: str, word: str) -> Finding:
    return Finding(
        cause,
        "error",
        message,
        gradient=context.name(index),
        explanation=explanation,
        suggestion=suggestion,
        probe="upstream",
        case=f"grad_output {word}",
    )


def _raised(word: str, error: Exception) -> Finding:
    return Finding(
        "raises",
        "error",
        f"backward raised {type(error).__name__} when grad_output is {word}",
        explanation=first_line(error),
        suggestion="look at the backward's traceback below",
        probe="upstream",
        case=f"grad_output {word}",
        traceback=user_traceback(error),
        stage="backward",
        exception=class_name(error),
    )
