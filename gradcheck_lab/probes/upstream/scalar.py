"""Whether a gradient uses one number made of `grad_output`, its first element or its sum, in the place of each element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.repeats import equal_within_noise, is_zero, repetition, snapshot
from gradcheck_lab.subjects.subject import Key

_FIRST, _SUM = "its first element", "its sum or mean"


def scalarized(context: Context, suspects: Sequence[int]) -> Iterator[Finding]:
    """Change grad_output such that its first element, or its sum, stays the same; then compare with the oracle for ones.

    `suspects` are the inputs whose gradient is wrong on the base case and not explained yet.
    """
    vague = {f.gradient for f in context.findings if f.cause in CAUSES["upstream-scalarized"].compared_as}
    unexplained = [i for i in suspects if context.name(i) in vague and not is_zero(repetition(context).first[i])]
    grads = context.case.grad_outputs or ()
    if not context.uses_autograd or not unexplained or not any(g.numel() > 1 for g in grads):
        return
    statistic_of: dict[int, str] = {}
    for statistic, axis in ((_FIRST, None), (_SUM, None), (_SUM, 0), (_SUM, -1)):
        changed = tuple(g + _change(g, statistic, axis) if is_differentiable(g) else g for g in grads)
        if not all(torch.equal(a, b) for a, b in zip(changed, grads, strict=True)):
            statistic_of |= {
                i: statistic
                for i in unexplained
                if i not in statistic_of and i in _unchanged_inputs(context, changed, unexplained)
            }
        if len(statistic_of) == len(unexplained):
            break
    if statistic_of:
        right = _right_for_ones(context, statistic_of)
        yield from (_finding(context, i, statistic) for i, statistic in statistic_of.items() if i in right)


def _change(grad: torch.Tensor, statistic: str, axis: int | None) -> torch.Tensor:
    """A change of `grad` that keeps its first elements along each axis, or its sums over `axis` (None: over each axis)."""
    found = torch.full((), 0.5, dtype=grad.dtype, device=grad.device).expand(grad.shape)
    for k, size in enumerate(grad.shape):
        if size > 1:
            weights = _weights(statistic if axis is None or axis % grad.ndim == k else "", size)
            row = torch.tensor(weights, dtype=grad.dtype, device=grad.device)
            found = found * row.reshape([-1 if j == k else 1 for j in range(grad.ndim)])
    return found if grad.numel() > 1 and (axis is None or grad.shape[axis] > 1) else torch.zeros_like(grad)


def _weights(statistic: str, size: int) -> list[float]:
    if statistic == _FIRST:
        return [0.0] + [1.0] * (size - 1)
    pairs = [1.0, -1.0] * (size // 2)
    if statistic == _SUM:
        return pairs if size % 2 == 0 else [*pairs[2:], 1.0, 1.0, -2.0]
    return [1.0] * size


def _unchanged_inputs(context: Context, grads: tuple[torch.Tensor, ...], suspects: Sequence[int]) -> set[int]:
    """The suspects whose gradient is that of the base case for these grad_outputs, although the true one is not."""
    case = context.case_with(grad_outputs=grads)
    run = context.run(case)
    if run.error is not None:
        return set()
    first, before = repetition(context).first, context.oracle.truth()
    truth = AutogradOracle(context.oracle.runner, case, context.oracle.copies).truth()
    unchanged = set()
    for i in suspects:
        new_truth, old_truth = truth.gradients.get(Key("input", i)), before.gradients.get(Key("input", i))
        should_change = (
            new_truth is not None and old_truth is not None and not context.equal(new_truth.detach(), old_truth.detach())
        )
        if should_change and equal_within_noise(context, i, run.gradients[i], first[i]):
            unchanged.add(i)
    return unchanged


def _right_for_ones(context: Context, suspects: dict[int, str]) -> set[int]:
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


def _finding(context: Context, index: int, statistic: str) -> Finding:
    return Finding(
        "upstream-scalarized",
        "error",
        f"gradient of {context.label(index)} uses {statistic} of grad_output in the place of every element",
        gradient=context.name(index),
        explanation="it is right when all elements of grad_output are equal, and else off by the ratio of that number to each"
        if statistic == _FIRST
        else "it depends on grad_output by one number made of it, as if every element had the same upstream",
        suggestion="multiply by grad_output itself, broadcast as the output is",
        probe="upstream",
        case="grad_output changed where that number stays the same",
    )
