"""The gradient is linear in `grad_output`: it uses all of it, element by element, and that of every output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import bits, unit_roundoff, wide_dtype
from gradcheck_lab.model.precision.derived_calls import (
    ADDS_UP_NOISE,
    ADDS_UP_ROUNDINGS,
    CUT_OFF,
    DIGITS_OF_UPSTREAM,
    FEWEST_DIGITS,
)
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
_SCALED, _ZERO, _ANOTHER, _SUM = "times -2", "zero", "another", "the sum of two"
_USE = "multiply by grad_output, element by element"


def upstream(context: Context) -> Iterator[Finding]:
    """Pass grad_output times -2, zero, another random one, the sum of the two, and very large and very small multiples.

    Then test whether one number stands for all elements, and each output by itself. The other one has all the digits of its
    dtype, which the first one has not: a backward that rounds grad_output to fewer changes it.
    """
    grads = context.case.grad_outputs or ()
    if repetition(context).takes_no_upstream or not is_repeatable(context):
        return
    generator = torch.Generator().manual_seed(context.case.seed + 1)
    other = tuple(random_like(g, generator) / 3 if is_differentiable(g) else g for g in grads)
    # a factor of a power of two leaves rounding unchanged, so a linear backward gives equal numbers
    upstreams = {
        _SCALED: tuple(-2 * g if is_differentiable(g) else g for g in grads),
        _ZERO: tuple(torch.zeros_like(g) for g in grads),
        _ANOTHER: other,
        _SUM: tuple(a + b if is_differentiable(a) else a for a, b in zip(grads, other, strict=True)),
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
            or _rounded_finding(context, index, runs, other)
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
    first, scaled = repetition(context).first[index], runs[_SCALED].gradients[index]
    if is_zero(first) or not isinstance(first, torch.Tensor) or not isinstance(scaled, torch.Tensor):
        return None
    label = context.label(index)
    other = runs[_ANOTHER].gradients[index]
    if not isinstance(other, torch.Tensor):
        return None
    if context.equal(scaled, -first) and context.equal(other.abs(), first.abs()):
        message = f"gradient of {label} only changes its sign when grad_output is multiplied by -2"
        explanation = "backward does not use the size of grad_output"
        return _finding(context, index, "upstream-ignored", message, explanation, _USE, _SCALED)
    if not context.equal(other, first):
        return None  # it depends on grad_output
    if context.equal(scaled, first):
        message = f"gradient of {label} is unchanged when grad_output is multiplied by -2"
        return _finding(context, index, "upstream-ignored", message, "backward does not use grad_output", _USE, _SCALED)
    return None


def _not_linear_finding(context: Context, index: int, runs: dict[str, Run]) -> Finding | None:
    first = repetition(context).first[index]
    scaled, zero, other, summed = (runs[name].gradients[index] for name in (_SCALED, _ZERO, _ANOTHER, _SUM))
    label, suggestion = context.label(index), _PLAIN
    if not isinstance(first, torch.Tensor):
        return None
    if isinstance(zero, torch.Tensor) and zero.shape == first.shape and bool(((zero != 0) & torch.isfinite(first)).any()):
        at_zero = "NaN" if bool(torch.isnan(zero).any()) else "not zero"
        message = f"gradient of {label} is {at_zero} when grad_output is zero"
        if at_zero == "not zero" and _right_at_ones(context, index):
            explanation = "a term of backward does not use grad_output: it is right only where that is 1"
            return _finding(context, index, "upstream-ignored", message, explanation, _USE, _ZERO)
        explanation = "backward divides by grad_output" if at_zero == "NaN" else "backward adds a term without grad_output"
        return _finding(context, index, "not-linear", message, explanation, suggestion, _ZERO)
    if not equal_within_noise(context, index, scaled, -2 * first):
        message = f"gradient of {label} is not -2 times as large when grad_output is multiplied by -2"
        return _finding(context, index, "not-linear", message, "backward is not linear in grad_output", suggestion, _SCALED)
    if not _is_additive(context, index, summed, first, other):
        message = f"gradient of {label} for the sum of two grad_outputs is not the sum of their gradients"
        return _finding(context, index, "not-linear", message, "backward is not linear in grad_output", suggestion, _SUM)
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
    return _compared_at(context, index, tuple(torch.ones_like(g) for g in context.case.grad_outputs or ()))


def _compared_at(context: Context, index: int, grad_outputs: tuple[torch.Tensor, ...]) -> list[Comparison]:
    found = context.against_oracle(context.case_with(grad_outputs=grad_outputs), numeric=not context.uses_autograd)
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


def _rounded_finding(
    context: Context, index: int, runs: dict[str, Run], another: tuple[torch.Tensor, ...]
) -> Finding | None:
    """The finding that backward uses fewer digits of grad_output than its dtype has, as after a cast to a narrower one."""
    first = repetition(context).first[index]
    scaled, other, summed = (runs[name].gradients[index] for name in (_SCALED, _ANOTHER, _SUM))
    if not all(isinstance(v, torch.Tensor) for v in (first, scaled, other, summed)):
        return None
    apart = _Apart.of(first, other, summed)
    narrower = {64: torch.float32, 32: torch.float16}.get(bits(first.dtype))
    if apart is None or narrower is None or not context.equal(scaled, -2 * first):
        return None
    least = DIGITS_OF_UPSTREAM.value * unit_roundoff(narrower) * apart.size
    if not least < apart.error <= FEWEST_DIGITS.value * apart.size:
        return None
    # what does not add up may be the rounding of terms that cancel: the budget decides
    if all(c.result.verdict != "fail" for c in _compared_at(context, index, another)):
        return None
    off = f"{apart.error / apart.size:.1e}"
    message = f"gradient of {context.label(index)} for the sum of two grad_outputs is {off} of its size off the sum of theirs"
    explanation = f"backward rounds grad_output to fewer digits than {str(first.dtype)[6:]} has"
    return _finding(context, index, "low-precision", message, explanation, "do not cast grad_output to a narrower dtype", _SUM)


@dataclass(frozen=True, slots=True)
class _Apart:
    """How far b(u + v) is from b(u) + b(v), the size of these two, and the elements that are finite in all three."""

    error: float
    size: float
    finite: torch.Tensor

    @classmethod
    def of(cls, first: torch.Tensor, other: torch.Tensor, summed: torch.Tensor) -> _Apart | None:
        """None where shapes differ or nothing is finite."""
        if not first.shape == other.shape == summed.shape:
            return None
        wide = wide_dtype(first.dtype)
        a, b, c = first.to(wide), other.to(wide), summed.to(wide)
        finite = torch.isfinite(a) & torch.isfinite(b) & torch.isfinite(c)
        if not bool(finite.any()):
            return None
        return cls(float((c - a - b)[finite].abs().max()), float((a[finite].abs() + b[finite].abs()).max()), finite)


def _is_additive(context: Context, index: int, summed: object, first: torch.Tensor, other: object) -> bool:
    """Whether b(u + v) is b(u) + b(v), within a tolerance so wide that only a backward that is not additive exceeds it."""
    if not isinstance(summed, torch.Tensor) or not isinstance(other, torch.Tensor) or summed.shape != first.shape:
        return is_zero(summed) and is_zero(other) and is_zero(first)
    apart = _Apart.of(first, other, summed)
    if apart is None:
        return other.shape == first.shape
    eps = torch.finfo(first.dtype).eps
    allowed = max(eps**0.5, ADDS_UP_ROUNDINGS.value * eps) * apart.size + float(torch.finfo(first.dtype).tiny)
    if apart.error <= allowed or equal_within_noise(context, index, summed, first + other):
        return True
    if apart.error <= FEWEST_DIGITS.value * apart.size and context.has_casts:
        return True  # a forward that casts to a narrower dtype has a backward that does
    return apart.error <= _noise_of_triple(context, index, first, apart.finite)


def _noise_of_triple(context: Context, index: int, first: torch.Tensor, finite: torch.Tensor) -> float:
    """What a sum may be off by where terms cancel and a gradient is all rounding: three times the upstream rounds otherwise."""
    grads = context.case.grad_outputs or ()
    run = run_copied(context, context.case_with(grad_outputs=tuple(3 * g if is_differentiable(g) else g for g in grads)))
    triple = run.gradients[index] if run.error is None else None
    if not isinstance(triple, torch.Tensor) or triple.shape != first.shape:
        return 0.0
    wide = wide_dtype(first.dtype)
    return ADDS_UP_NOISE.value * float((triple.to(wide) - 3 * first.to(wide))[finite].abs().max())


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
