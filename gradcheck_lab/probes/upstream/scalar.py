"""Whether a gradient uses a part of `grad_output`, or one number made of it, in the place of each element."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.repeats import compared_inputs, equal_within_noise, is_zero, repetition, snapshot
from gradcheck_lab.subjects.subject import Key

_SUM = "its sum or mean"


@dataclass(frozen=True, slots=True)
class _Wrong:
    """A call on which gradients are wrong: what backward returned on it, and the true gradients."""

    case: Case
    returned: Sequence[Any]
    truth: Pass


def scalarized(context: Context, suspects: Sequence[int]) -> Iterator[Finding]:
    """Change grad_output such that a part of it, or its sum, stays the same; then compare with the oracle for ones.

    `suspects` are the inputs whose gradient is wrong on the base case and not explained yet.
    """
    vague = {f.gradient for f in context.findings if f.cause in CAUSES["upstream-scalarized"].compared_as}
    unexplained = [i for i in suspects if context.name(i) in vague and not is_zero(repetition(context).first[i])]
    if context.uses_autograd and unexplained:
        wrong = _Wrong(context.case, repetition(context).first, context.oracle.truth())
        used = _used(context, wrong, unexplained)
        right = _right_for_ones(context, used) if used else set()
        yield from (_finding(context, i, part) for i, part in used.items() if i in right)


def hidden_by_equal_elements(context: Context, explained: Collection[int]) -> Iterator[Finding]:
    """The same of gradients that are right on the base case, whose grad_output has equal elements, and wrong on two others.

    Those of the inputs that are `explained` are not looked at.
    """
    given = context.case.grad_outputs or ()
    grads = [g for g in given if is_differentiable(g) and g.numel() > 1]
    if not context.uses_autograd or not grads or not all(bool((g == g.reshape(-1)[0]).all()) for g in grads):
        return
    generator = torch.Generator().manual_seed(context.case.seed + 1)
    suspects = {i for i in compared_inputs(context) if i not in context.wrong_inputs and i not in explained}
    for _ in range(2):
        # cubes are farther apart
        upstream = tuple(random_like(g, generator) ** 3 if is_differentiable(g) else g for g in given)
        case = context.case_with(grad_outputs=upstream)
        # with the budget of the user's own call: that of derived calls sees gross errors alone
        found = context.against_oracle(case, numeric=True) if suspects else None
        failed = {c.result.name for c in found.comparisons if c.result.verdict == "fail"} if found is not None else set()
        suspects = {i for i in suspects if context.name(i) in failed}
    if suspects:
        wrong = _Wrong(case, context.run(case).gradients, _oracle(context, case).truth())
        yield from (_finding(context, i, part) for i, part in _used(context, wrong, sorted(suspects)).items())


def _oracle(context: Context, case: Case) -> AutogradOracle:
    return AutogradOracle(context.oracle.runner, case, context.oracle.copies)


def _used(context: Context, wrong: _Wrong, suspects: Sequence[int]) -> dict[int, str]:
    """The part of grad_output that the gradients depend on alone, where the true ones depend on more."""
    grads, found = wrong.case.grad_outputs or (), dict[int, str]()
    for part, axis in _parts(max((g.ndim for g in grads), default=0)):
        left = [i for i in suspects if i not in found]
        changed = tuple(g + _change(g, part, axis) if is_differentiable(g) else g for g in grads)
        if left and not all(torch.equal(a, b) for a, b in zip(changed, grads, strict=True)):
            found |= dict.fromkeys(_unchanged_inputs(context, wrong, changed, left, exactly=part != _SUM), part)
    return found


def _parts(ndim: int) -> Iterator[tuple[str, int | None]]:
    """What a backward may read alone, in words, and the axis that it is about."""
    yield "its first element", None
    for axis in range(ndim if ndim > 1 else 0):
        yield {(2, 0): "its first row", (2, 1): "its first column"}.get((ndim, axis), f"its first slice of axis {axis}"), axis
    yield from ((_SUM, axis) for axis in (None, 0, -1))


def _change(grad: torch.Tensor, part: str, axis: int | None) -> torch.Tensor:
    """A change of `grad` that keeps a part of it, or its sums over `axis` (None: over each axis)."""
    if grad.numel() < 2 or (axis is not None and (not -grad.ndim <= axis < grad.ndim or grad.shape[axis] < 2)):
        return torch.zeros_like(grad)
    if part != _SUM:
        found = torch.full_like(grad, 0.5, memory_format=torch.contiguous_format)
        if axis is None:
            found.view(-1)[0] = 0
        else:
            found.select(axis, 0).zero_()
        return found
    found = torch.full((), 0.5, dtype=grad.dtype, device=grad.device).expand(grad.shape)
    for k, size in enumerate(grad.shape):
        if size > 1 and (axis is None or axis % grad.ndim == k):
            row = torch.tensor(_weights(size), dtype=grad.dtype, device=grad.device)
            found = found * row.reshape([-1 if j == k else 1 for j in range(grad.ndim)])
    return found


def _weights(size: int) -> list[float]:
    """Numbers that add up to zero."""
    pairs = [1.0, -1.0] * (size // 2)
    return pairs if size % 2 == 0 else [*pairs[2:], 1.0, 1.0, -2.0]


def _unchanged_inputs(
    context: Context, wrong: _Wrong, grads: tuple[torch.Tensor, ...], suspects: Sequence[int], exactly: bool
) -> set[int]:
    """The suspects whose gradient stays what it is for these grad_outputs, although the true one does not.

    Where the rest of grad_output is not read at all it stays so `exactly`, and else but for rounding.
    """
    case = context.case_with(grad_outputs=grads)
    run = context.run(case)
    if run.error is not None:
        return set()
    truth = _oracle(context, case).truth()
    unchanged = set()
    for i in suspects:
        new_truth, old_truth = truth.gradients.get(Key("input", i)), wrong.truth.gradients.get(Key("input", i))
        should_change = (
            new_truth is not None and old_truth is not None and not context.equal(new_truth.detach(), old_truth.detach())
        )
        mine, before = run.gradients[i], wrong.returned[i]
        stays = context.equal(mine, before) if exactly else equal_within_noise(context, i, mine, before)
        if should_change and stays:
            unchanged.add(i)
    return unchanged


def _right_for_ones(context: Context, suspects: Mapping[int, str]) -> set[int]:
    """The suspects whose gradient for a grad_output of ones is right, or right once divided by a number of elements."""
    grads = context.case.grad_outputs or ()
    ones = context.against_oracle(context.case_with(grad_outputs=tuple(torch.ones_like(g) for g in grads)))
    if ones is None or not ones.comparisons:
        return set()
    passed = {c.result.name for c in ones.comparisons if c.result.verdict == "pass"}
    right = {i for i in suspects if context.name(i) in passed}
    truth, sizes = ones.oracle.truth(), {n for g in grads for n in (g.numel(), *g.shape) if n > 1}
    for i in set(suspects) - right:
        true, actual = truth.gradients.get(Key("input", i)), snapshot(ones.returned)[i]
        if isinstance(actual, torch.Tensor) and true is not None and actual.shape == true.shape:
            right |= {i for n in sizes if context.equal(actual / n, true.detach())}
    return right


def _finding(context: Context, index: int, part: str) -> Finding:
    return Finding(
        "upstream-scalarized",
        "error",
        f"gradient of {context.label(index)} uses {part} of grad_output in the place of every element",
        gradient=context.name(index),
        explanation="it depends on grad_output by one number made of it, as if every element had the same upstream"
        if part == _SUM
        else f"it depends on {part} of grad_output alone: it is right when all elements are equal",
        suggestion="multiply by grad_output itself, broadcast as the output is",
        probe="upstream",
        case="grad_output changed where that number stays the same" if part == _SUM else f"grad_output changed but for {part}",
    )
