"""Whether one number of `grad_output`, its first element or its sum, stands for all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from gradcheck_lab.case import is_differentiable
from gradcheck_lab.probes.calls import alike, is_zero, repeated, snapshot
from gradcheck_lab.probes.context import Context
from gradcheck_lab.report import Finding
from gradcheck_lab.subject import Key


def _first_kept(size: int) -> list[float]:
    return [0.0, *(float((-1) ** k) for k in range(size - 1))]


def _sum_kept(size: int) -> list[float]:
    pairs = [1.0, -1.0] * (size // 2)
    return pairs if size % 2 == 0 else [*pairs[2:], 1.0, 1.0, -2.0]


_TRIES = (("its first element", _first_kept), ("its sum or mean", _sum_kept))


def scalarized(context: Context, suspects: Sequence[int]) -> Iterator[Finding]:
    """Change the upstream where one number made of it stays the same, and hold an upstream of ones against the oracle.

    `suspects` are the inputs whose gradient is wrong on the base case.
    """
    grads = context.case.grad_outputs or ()
    left = [i for i in suspects if not is_zero(repeated(context).first[i])]
    if not context.analytic or not left or not any(g.numel() > 1 for g in grads):
        return
    blamed: dict[int, str] = {}
    for word, weights in _TRIES:
        changed = tuple(g + _moved(g, weights) if is_differentiable(g) else g for g in grads)
        if all(torch.equal(a, b) for a, b in zip(changed, grads, strict=True)):
            continue
        run = context.run(context.vary(grad_outputs=changed))
        if run.error is not None:
            return
        for i in left:
            if i not in blamed and alike(context, i, run.gradients[i], repeated(context).first[i]):
                blamed[i] = word
    if blamed:
        yield from (_finding(context, i, word) for i, word in blamed.items() if i in _right_for_ones(context, blamed))


def _moved(grad: torch.Tensor, weights: Callable[[int], Sequence[float]]) -> torch.Tensor:
    """A change of `grad` that is an outer product of the weights of every axis longer than one."""
    found = torch.full((), 0.5, dtype=grad.dtype, device=grad.device).expand(grad.shape)
    for axis, size in enumerate(grad.shape):
        if size > 1:
            row = torch.tensor(weights(size), dtype=grad.dtype, device=grad.device)
            found = found * row.reshape([-1 if k == axis else 1 for k in range(grad.ndim)])
    return found if grad.numel() > 1 else torch.zeros_like(grad)


def _right_for_ones(context: Context, suspects: dict[int, str]) -> set[int]:
    """The suspects that are right, or off by a number of elements, where every element of the upstream is one."""
    grads = context.case.grad_outputs or ()
    ones = context.examine(context.vary(grad_outputs=tuple(torch.ones_like(g) for g in grads)))
    if ones is None or not ones.comparisons:
        return set()
    passed = {c.result.name for c in ones.comparisons if c.result.verdict == "pass"}
    right = {i for i in suspects if context.name(i) in passed}
    truth, sizes = ones.oracle.truth(), {n for g in grads for n in (g.numel(), *g.shape) if n > 1}
    for i in set(suspects) - right:
        true, actual = truth.gradients.get(Key("input", i)), snapshot(ones.returned)[i]
        if isinstance(actual, torch.Tensor) and true is not None and actual.shape == true.shape:
            right |= {i for n in sizes if context.same(i, actual / n, true.detach())}
    return right


def _finding(context: Context, index: int, word: str) -> Finding:
    return Finding(
        "upstream-scalarized",
        "error",
        f"gradient of {context.label(index)} uses {word} of grad_output in the place of every element",
        gradient=context.name(index),
        explanation="it is right when all elements of grad_output are equal, and else off by the ratio of that number to each"
        if word == "its first element"
        else "it depends on grad_output by one number made of it, as if every element had the same upstream",
        suggestion="multiply by grad_output itself, broadcast as the output is",
        probe="upstream",
        case="grad_output changed where that number stays the same",
    )
