"""Whether one number of `grad_output`, its first element or its sum, stands for all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.repeats import equal_within_noise, is_zero, repetition, snapshot
from gradcheck_lab.subjects.subject import Key

_FIRST, _SUM = "its first element", "its sum or mean"


def scalarized(context: Context, suspects: Sequence[int]) -> Iterator[Finding]:
    """Change the upstream where one number made of it stays the same, and hold an upstream of ones against the oracle.

    `suspects` are the inputs whose gradient is wrong on the base case.
    """
    vague = {f.gradient for f in context.findings if f.cause in CAUSES["upstream-scalarized"].compared_as}
    left = [i for i in suspects if context.name(i) in vague and not is_zero(repetition(context).first[i])]
    grads = context.case.grad_outputs or ()
    if not context.uses_autograd or not left or not any(g.numel() > 1 for g in grads):
        return
    blamed: dict[int, str] = {}
    for word, axis in ((_FIRST, None), (_SUM, None), (_SUM, 0), (_SUM, -1)):
        changed = tuple(g + _moved(g, word, axis) if is_differentiable(g) else g for g in grads)
        if not all(torch.equal(a, b) for a, b in zip(changed, grads, strict=True)):
            blamed |= {i: word for i in left if i not in blamed and i in _unmoved(context, changed, left)}
        if len(blamed) == len(left):
            break
    if blamed:
        right = _right_for_ones(context, blamed)
        yield from (_finding(context, i, word) for i, word in blamed.items() if i in right)


def _moved(grad: torch.Tensor, word: str, axis: int | None) -> torch.Tensor:
    """A change of `grad` that leaves the first of every axis, or the sums over `axis` (None: over each), as they are."""
    found = torch.full((), 0.5, dtype=grad.dtype, device=grad.device).expand(grad.shape)
    for k, size in enumerate(grad.shape):
        if size > 1:
            weights = _kept(word if axis is None or axis % grad.ndim == k else "", size)
            row = torch.tensor(weights, dtype=grad.dtype, device=grad.device)
            found = found * row.reshape([-1 if j == k else 1 for j in range(grad.ndim)])
    return found if grad.numel() > 1 and (axis is None or grad.shape[axis] > 1) else torch.zeros_like(grad)


def _kept(word: str, size: int) -> list[float]:
    if word == _FIRST:
        return [0.0] + [1.0] * (size - 1)
    pairs = [1.0, -1.0] * (size // 2)
    if word == _SUM:
        return pairs if size % 2 == 0 else [*pairs[2:], 1.0, 1.0, -2.0]
    return [1.0] * size


def _unmoved(context: Context, grads: tuple[torch.Tensor, ...], suspects: Sequence[int]) -> set[int]:
    """The suspects whose gradient stays as it was for this upstream, and should not."""
    found = context.against_oracle(context.case_with(grad_outputs=grads))
    if found is None or not found.comparisons:
        return set()
    first, truth, before = repetition(context).first, found.oracle.truth(), context.oracle.truth()
    unmoved = set()
    for i in suspects:
        now, then = truth.gradients.get(Key("input", i)), before.gradients.get(Key("input", i))
        moves = now is not None and then is not None and not context.equal(now.detach(), then.detach())
        if moves and equal_within_noise(context, i, found.returned[i], first[i]):
            unmoved.add(i)
    return unmoved


def _right_for_ones(context: Context, suspects: dict[int, str]) -> set[int]:
    """The suspects that are right, or off by a number of elements, where every element of the upstream is one."""
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


def _finding(context: Context, index: int, word: str) -> Finding:
    return Finding(
        "upstream-scalarized",
        "error",
        f"gradient of {context.label(index)} uses {word} of grad_output in the place of every element",
        gradient=context.name(index),
        explanation="it is right when all elements of grad_output are equal, and else off by the ratio of that number to each"
        if word == _FIRST
        else "it depends on grad_output by one number made of it, as if every element had the same upstream",
        suggestion="multiply by grad_output itself, broadcast as the output is",
        probe="upstream",
        case="grad_output changed where that number stays the same",
    )
