"""Gradients that may, as the user allows, be those of another upstream - ones, one number, none of an output - or input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.comparison.allowed import beyond, excused
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Explanation
from gradcheck_lab.diagnosis.allowance import Excuse
from gradcheck_lab.diagnosis.deviation import Deviation, of_input
from gradcheck_lab.model.causes import having

Upstream = tuple[torch.Tensor, ...]
Made = Callable[[Upstream], Upstream]

_IGNORED = "upstream-ignored"
_SCALARIZED = "upstream-scalarized"
_DROPPED = "output-gradient-dropped"
_SWAPPED = "slots-swapped"


def with_allowed_upstream(
    wrong: Comparison, slot: Slot, grads: Upstream, compare: Callable[[Made], Comparison]
) -> Comparison:
    """The comparison with the upstream that an allowed mistake puts in the place of the given one; `wrong` where none fits.

    A gradient that is right with another upstream is told; else the first mistake that one of them brings to light.
    """
    rest: Comparison | None = None
    vague = having("unexplained") | slot.allowed.causes
    unexplained = all(f.cause in vague for f in wrong.findings if f.severity == "error")
    for cause, sentence, made in _upstreams(grads, slot.permits):
        try:
            found = compare(made)
        except Exception:  # the oracle does not take this upstream, which nobody asked for
            continue
        if found.result.verdict == "pass":
            inner = found.excuse.told if found.excuse is not None else ()
            return excused(found, slot, Excuse((Explanation(cause, sentence, ""), *inner)))
        named = [f.cause for f in found.findings if f.severity == "error" and f.cause not in vague]
        if rest is None and named and unexplained:
            rest = beyond(found, slot, cause)
    return wrong if rest is None else rest


def with_allowed_swap(wrong: Comparison, slot: Slot, others: Mapping[str, Callable[[], Comparison]]) -> Comparison:
    """The comparison with the gradient of another input, where that is allowed to be returned here and is; else `wrong`."""
    for name, compare in others.items() if wrong.result.verdict == "fail" and slot.permits(_SWAPPED) else ():
        found = compare()
        if found.result.verdict == "pass":
            inner = found.excuse.told if found.excuse is not None else ()
            swapped = Explanation(_SWAPPED, f"it is the gradient of {name!r}", "", deviation=Deviation(predict=of_input(name)))
            return excused(found, slot, Excuse((swapped, *inner)))
    return wrong


def _upstreams(grads: Upstream, permits: Callable[[str], bool]) -> Iterator[tuple[str, str, Made]]:
    """What allowed mistakes put in the place of the upstream gradients: the cause, a sentence, and the upstream."""
    if permits(_IGNORED):
        yield _IGNORED, "it is the gradient for a grad_output of ones", partial(_each, torch.ones_like)
    if permits(_DROPPED) and len(grads) > 1:
        for k, grad in enumerate(grads):
            if is_differentiable(grad) and bool(grad.any()):
                yield _DROPPED, f"it is the gradient without what output {k} sends back", partial(_without, k)
    if permits(_SCALARIZED):
        for what, number in _numbers(max((g.ndim for g in grads), default=0)):
            yield _SCALARIZED, f"it is the gradient for {what} in the place of grad_output", partial(_each, number)


def _each(made: Callable[[torch.Tensor], torch.Tensor], grads: Upstream) -> Upstream:
    return tuple(made(g).expand(g.shape).contiguous() if is_differentiable(g) and g.numel() else g for g in grads)


def _without(output: int, grads: Upstream) -> Upstream:
    return tuple(torch.zeros_like(g) if j == output else g for j, g in enumerate(grads))


def _numbers(ndim: int) -> Iterator[tuple[str, Callable[[torch.Tensor], torch.Tensor]]]:
    """Numbers made of an upstream that may stand for all of its elements, or for those along an axis."""
    yield "its first element", lambda g: g.reshape(-1)[0]
    yield "its mean", lambda g: g.mean()
    yield "its sum", lambda g: g.sum()
    for axis in range(ndim if ndim > 1 else 0):
        yield f"its first slice of axis {axis}", partial(_first, axis)
        yield f"its mean along axis {axis}", partial(torch.mean, dim=axis, keepdim=True)
        yield f"its sum along axis {axis}", partial(torch.sum, dim=axis, keepdim=True)


def _first(axis: int, grad: torch.Tensor) -> torch.Tensor:
    return grad.narrow(axis, 0, 1) if grad.ndim > axis else grad
