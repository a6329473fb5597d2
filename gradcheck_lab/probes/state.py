"""Calls are independent: no state, buffer or sum is carried over from one to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import REUSED_BUFFERS
from gradcheck_lab.model.raised import raises_again
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.probes.support.derived_calls import derived_case, examine_derived_call
from gradcheck_lab.probes.support.live_calls import (
    Expected,
    HandedOut,
    accumulates,
    calls_on_one_object,
    expected,
    forwards_between,
    is_unchanged,
    other_size,
    reused,
)
from gradcheck_lab.probes.support.repeats import (
    compared_inputs,
    equal_within_noise,
    first_differing_input,
    is_repeatable,
    repetition,
    run_copied,
    snapshot,
)

BOTH = "both forwards run before both backwards"


def state(context: Context) -> Iterator[Finding]:
    """Call twice and compare the first result with a copy; then make other calls on one object, and between a call's halves."""
    repeated = repetition(context)
    if repeated.outcome == "accumulates":
        yield _accumulates(context)
    if not is_repeatable(context):
        return
    case = _with_other_values(context)
    second = run_copied(context, case)
    if second.error is not None:
        return
    yield from _reused_buffers(context, repeated.second.gradients, repeated.second_copies)
    stale = _repeats_the_first(context, case, second.gradients)
    if stale is not None:
        yield stale
        return
    if context.subject.keeps_last_call:  # such an object stores its last call by design
        yield from calls_on_one_object(context, tuple(_other_calls(context, case, second)))
        return
    state = context.subject.state
    with nullcontext() if state is None else state.alive():
        finding = _run_interleaved(context, case, second.gradients)
    if finding is not None:
        yield finding


def _other_calls(context: Context, case: Case, second: Run) -> Iterator[Expected]:
    """Calls with other values, with another size, and with parameters that were stepped in place."""
    parameters, grads = context.subject.parameters, context.case.grad_outputs or ()
    inputs = tuple(v if i in parameters else case.inputs[i] for i, v in enumerate(context.case.inputs))
    other = replace(case, inputs=inputs, grad_outputs=tuple(2 * g if is_differentiable(g) else g for g in grads))
    values = expected(context, "a call with other values", other)
    sizes = (expected(context, "a call of another size", each) for each in other_size(context))
    resized = next((each for each in sizes if each is not None), None)
    several = [values] * REUSED_BUFFERS.value  # buffers may be used in turn
    yield from (each for each in (*several, resized) if each is not None)
    if parameters:
        yield Expected("a call after a step of the parameters", case, second.outputs, second.gradients, steps=True)


def _with_other_values(context: Context) -> Case:
    """The case with its floating values in reverse order, or halved where that changes nothing."""
    inputs = context.case.inputs
    flipped = [v.flip(tuple(range(v.ndim))) if is_differentiable(v) else v for v in inputs]
    if all(torch.equal(a, b) for a, b in zip(inputs, flipped, strict=True) if is_differentiable(a)):
        flipped = [v / 2 if is_differentiable(v) else v for v in inputs]
    return context.case_with(inputs=tuple(flipped))


def _accumulates(context: Context) -> Finding:
    repeated = repetition(context)
    i = next(
        i for i in compared_inputs(context) if not equal_within_noise(context, i, repeated.second_copies[i], repeated.first[i])
    )
    return accumulates(context, i, "the same call again")


def _reused_buffers(context: Context, returned: tuple[Any, ...], unchanged: tuple[Any, ...]) -> Iterator[Finding]:
    changed = [
        i
        for i in compared_inputs(context)
        if isinstance(unchanged[i], torch.Tensor) and not is_unchanged(returned[i], unchanged[i])
    ]
    for i in changed[:1]:
        yield reused(context.name(i), f"gradient of {context.label(i)}", "backward")


def _repeats_the_first(context: Context, case: Case, second: tuple[Any, ...]) -> Finding | None:
    """The finding that a call with other values returns the gradient of the first call, as from a cache; else None."""
    first = repetition(context).first
    unchanged = [i for i in compared_inputs(context) if i not in context.wrong_inputs and isinstance(first[i], torch.Tensor)]
    unchanged = (
        [i for i in unchanged if is_unchanged(second[i], first[i]) and bool(first[i].any())]
        if len(second) == len(first)
        else []
    )
    if not unchanged:
        return None
    derived = examine_derived_call(context, derived_case(context, inputs=case.inputs))
    wrong = {new_error.gradient for new_error in derived.new_errors} if derived is not None else set()
    at = next((i for i in unchanged if context.name(i) in wrong), None)
    if at is None:
        return None
    return Finding(
        "stale-state",
        "error",
        f"gradient of {context.label(at)} of a second call, with other values, is that of the first",
        gradient=context.name(at),
        explanation="the first call is right: what forward kept then is used again for every call of its shape",
        suggestion="keep it per call (ctx.save_for_backward, or the op's inputs and output), not in a cache",
        probe="state",
        case="a second call with other values",
    )


def overwritten(context: Context) -> Iterator[Finding]:
    """Check, after all other probes, that no call has overwritten the gradients that the first call returned."""
    if not is_repeatable(context):
        return
    grads = tuple(3 * g if is_differentiable(g) else g for g in context.case.grad_outputs or ())
    for _ in range(REUSED_BUFFERS.value):  # several buffers may be used in turn
        run = run_copied(context, context.case_with(grad_outputs=grads))
        if run.error is not None:
            yield raises_again(run.error, "backward", "state", "the same call after others")
            return
    yield from _reused_buffers(context, context.gradients, repetition(context).first)


def _run_interleaved(context: Context, case: Case, expected_gradients: tuple[Any, ...]) -> Finding | None:
    """Run two forwards and then both backwards; then one backward after the other forwards that users make before it."""
    first, base = repetition(context).first, context.case
    one = context.record(base)
    kept = None if isinstance(one, Exception) else HandedOut(context, one)
    two = context.record(case)
    if isinstance(one, Exception) or kept is None:
        return None
    if not isinstance(two, Exception):
        finding = kept.overwritten()
        run = context.backward(one, base.grad_outputs or (), base.seed)
        kept.after_backward(run)
        finding = finding or _stale_finding(context, "of the first of two calls", BOTH, run, first)
        run = context.backward(two, case.grad_outputs or (), case.seed)
        finding = finding or _stale_finding(context, "of the second of two calls", BOTH, run, expected_gradients)
        if finding := finding or kept.overwritten():
            return finding
    for words, forward in forwards_between(context):
        one = context.record(base)
        forward()
        if isinstance(one, Exception):
            return None
        run = context.backward(one, base.grad_outputs or (), base.seed)
        finding = _stale_finding(context, "of a call", f"a forward {words} runs before its backward", run, first)
        if finding is not None:
            return finding
    return None


def _stale_finding(context: Context, whose: str, when: str, run: Run, expected_gradients: tuple[Any, ...]) -> Finding | None:
    at = None if run.error is not None else first_differing_input(context, snapshot(run.gradients), expected_gradients)
    if run.error is None and at is None:
        return None
    what = "backward" if at is None else f"gradient of {context.label(at)}"
    outcome = f"raises {type(run.error).__name__}" if at is None else "is wrong"
    return Finding(
        "stale-state",
        "error",
        f"{what} {whose} {outcome} when {when}",
        gradient=None if at is None else context.name(at),
        explanation="each call alone is right: what forward keeps for backward is shared between calls",
        suggestion="keep it per call (ctx.save_for_backward, or the op's inputs and output), not on a class, module or closure",
        probe="state",
        case="two forwards, then both backwards" if when == BOTH else when,
    )
