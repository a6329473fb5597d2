"""Calls on one living object, as its users make them: what a call hands out outlives the next, and none reads another's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.dimensions import dimensions_of
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import OTHER_SIZES_BETWEEN
from gradcheck_lab.model.precision import unit_roundoff, widened
from gradcheck_lab.model.precision.budget import SAME_ROUNDINGS
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.probes.support.repeats import (
    compared_inputs,
    first_differing_input,
    outputs_equal_within_noise,
    repetition,
    snapshot,
)
from gradcheck_lab.probes.support.size_variants import variants
from gradcheck_lab.subjects.subject import Recording


@dataclass(frozen=True, slots=True)
class Expected:
    """A call as it is by itself: its case, and copies of the outputs and gradients of an object that made no other call.

    Where it `steps` parameters, it is made after writing to them in place, as an optimiser does.
    """

    words: str
    case: Case
    outputs: tuple[Any, ...]
    gradients: tuple[Any, ...]
    steps: bool = False


class HandedOut:
    """What one call returned to its caller, with copies of it; what a later call overwrites is found by comparing them."""

    def __init__(self, context: Context, recording: Recording) -> None:
        self._context, self._outputs = context, recording.outputs
        self._unchanged, self._run, self._copies = snapshot(recording.outputs), Run(), tuple[Any, ...]()

    def after_backward(self, run: Run) -> None:
        """Take in the gradients of the call's own backward, which may write to its outputs: another probe says so."""
        self._unchanged, self._run, self._copies = snapshot(self._outputs), run, snapshot(run.gradients)

    def overwritten(self) -> Finding | None:
        """The finding that an output or a returned gradient is no longer what it was."""
        context, subject = self._context, self._context.subject
        for k, (now, before) in enumerate(zip(self._outputs, self._unchanged, strict=True)):
            if isinstance(before, torch.Tensor) and not is_unchanged(now, before):
                return reused(None, "output" if len(self._outputs) == 1 else f"output {k}", "forward")
        adds_up = (lambda i: False) if subject.state is None else subject.state.adds_up
        for i in compared_inputs(context) if len(self._copies) == len(subject.names) else ():
            if i in self._run.stored or not isinstance(self._copies[i], torch.Tensor):
                continue
            if not is_unchanged(self._run.gradients[i], self._copies[i]) and not (i in subject.parameters and adds_up(i)):
                return reused(context.name(i), f"gradient of {context.label(i)}", "backward")
        return None


def reused(gradient: str | None, what: str, returns: str) -> Finding:
    """The finding that what a call returned changes with the next call."""
    return Finding(
        "reused-buffer",
        "error",
        f"{what} from one call changes when the next call runs",
        gradient=gradient,
        explanation=f"{returns} returns a buffer that it keeps, and the next call writes over it",
        suggestion="return a new tensor, or a clone of the buffer",
        probe="state",
        case="two calls, the first result kept",
    )


def is_unchanged(now: torch.Tensor, before: torch.Tensor) -> bool:
    """Whether a tensor holds what its copy holds."""
    now = snapshot((now,))[0]
    same = now.shape == before.shape
    return same and (torch.equal(now, before) or torch.equal(torch.nan_to_num(now), torch.nan_to_num(before)))


def calls_on_one_object(context: Context, others: Sequence[Expected]) -> Iterator[Finding]:
    """Make the call, then other calls and the call itself again, on one object that keeps its last call."""
    state = context.subject.state
    base = Expected("the call again, after others", context.case, repetition(context).second.outputs, repetition(context).first)
    with nullcontext() if state is None else state.alive():
        kept: HandedOut | None = None
        before: tuple[Any, ...] = ()
        for call in (replace(base, words=""), *others, base):
            recording = context.record(call.case)
            if isinstance(recording, Exception):
                continue
            outputs, own = snapshot(recording.outputs), HandedOut(context, recording)
            kept = None if call.steps else kept  # an output may be a part of a parameter
            finding = kept.overwritten() if kept is not None else None
            run = context.backward(recording, call.case.grad_outputs or (), call.case.seed)
            own.after_backward(run)
            finding = finding or (kept.overwritten() if kept is not None else None)
            if finding is None and call.words and outputs_equal_within_noise(context, outputs, call.outputs):
                finding = _stale(context, call, run, before)
            if finding is not None:
                yield finding
                return
            before = snapshot(run.gradients)
            kept = own if not call.words else kept


def _stale(context: Context, call: Expected, run: Run, before: tuple[Any, ...]) -> Finding | None:
    """The finding that a later call on the object gives other gradients than on an object that made none before.

    `before` are the gradients of the call that was made last.
    """
    state = context.subject.state
    adds_up = {i for i in context.subject.parameters if state is not None and state.adds_up(i)} | context.wrong_inputs
    gradients = tuple(call.gradients[i] if i in adds_up else v for i, v in enumerate(run.gradients))
    at = None if run.error is not None else first_differing_input(context, snapshot(gradients), call.gradients)
    if run.error is None and at is None:
        return None
    if at is not None and _is_added(run.gradients[at], before[at] if len(before) > at else None, call.gradients[at]):
        return accumulates(context, at, call.words)
    what = "backward" if at is None else f"gradient of {context.label(at)}"
    return Finding(
        "stale-state",
        "error",
        f"{what} {'is wrong' if run.error is None else f'raises {type(run.error).__name__}'} in {call.words}",
        gradient=None if at is None else context.name(at),
        explanation="on an object that made no other call it is right, and the outputs are the same: what an earlier call left "
        "is read",
        suggestion="let each forward keep anew all that its backward reads",
        probe="state",
        case=call.words,
    )


def _is_added(now: Any, before: Any, alone: Any) -> bool:
    """Whether a gradient is that of the call before plus that of the call by itself, and neither is zero."""
    parts = (now, before, alone)
    if not all(is_differentiable(v) for v in parts) or not now.shape == before.shape == alone.shape or not bool(before.any()):
        return False
    off = torch.linalg.vector_norm(widened(now) - widened(before) - widened(alone))
    size = torch.linalg.vector_norm(widened(before)) + torch.linalg.vector_norm(widened(alone))
    return float(off) <= SAME_ROUNDINGS.value * unit_roundoff(now.dtype) * float(size)


def accumulates(context: Context, index: int, case: str) -> Finding:
    """The finding that a gradient is added to what the calls before left."""
    return Finding(
        "accumulates-across-calls",
        "error",
        f"gradient of {context.label(index)} grows by the same amount with every call",
        gradient=context.name(index),
        explanation="the second result is the first plus that of the second call: a buffer is not reset",
        suggestion="assign where it says +=, or give the layer a zero_grad() that its users call"
        if context.subject.keeps_last_call
        else "start each backward from zeros, or assign where it says +=",
        probe="state",
        case=case,
    )


def expected(context: Context, words: str, case: Case) -> Expected | None:
    """The call as it is by itself, with upstream gradients that fit; None where it cannot be made."""
    recording = context.record(case)
    if isinstance(recording, Exception):
        return None
    outputs = snapshot(recording.outputs)
    if case.grad_outputs is None:
        generator = torch.Generator().manual_seed(case.seed)
        drawn = tuple(random_like(v, generator) if is_differentiable(v) else torch.zeros_like(v) for v in outputs)
        case = replace(case, grad_outputs=recording.fixed_grad_outputs or drawn)
    run = context.backward(recording, case.grad_outputs or (), case.seed)
    return None if run.error is not None else Expected(words, case, outputs, snapshot(run.gradients))


def other_size(context: Context) -> Iterator[Case]:
    """Cases at a few other sizes with the same parameters, without upstream gradients."""
    given, parameters = context.case.inputs, context.subject.parameters
    dims = dimensions_of(given, context.subject.specs)
    for variant in islice(variants(context, dims, given), OTHER_SIZES_BETWEEN.value):
        fits = all(variant.inputs[i].shape == given[i].shape for i in parameters)
        if fits and not variant.empty and not variant.broadcast:
            inputs = tuple(given[i] if i in parameters else v for i, v in enumerate(variant.inputs))
            yield context.case_with(inputs=inputs, grad_outputs=None)


def forwards_between(context: Context) -> Iterator[tuple[str, Callable[[], object]]]:
    """Forwards that users make before an earlier call's backward: other sizes, the other mode, flags set otherwise."""
    for case in islice(other_size(context), 1):
        yield "of another size", partial(context.record, case)
    state = context.subject.state
    training = getattr(state.owner, "training", None) if state is not None else None
    if state is not None and isinstance(training, bool) and isinstance(state.owner, torch.nn.Module):
        module = state.owner
        words = "in eval()" if training else "in train()"

        def in_other_mode() -> object:
            with mode(module, not training):
                return context.record(context.case)

        yield words, in_other_mode
    inputs, options = context.case.inputs, context.case.options
    for i, value in enumerate(inputs):
        if isinstance(value, bool):
            other = context.case_with(inputs=tuple(not v if k == i else v for k, v in enumerate(inputs)))
            yield f"with {context.name(i)}={not value}", partial(context.record, other)
    for name, value in options.items():
        if isinstance(value, bool):
            other = context.case_with(options={**options, name: not value})
            yield f"with {name}={not value}", partial(context.record, other)


@contextmanager
def mode(module: torch.nn.Module, training: bool) -> Iterator[None]:
    """Within the block, the module and those within it are in `train()`, or else in `eval()`."""
    before = [(m, m.training) for m in module.modules()]
    with ExitStack() as stack:
        for each, was in before:
            stack.callback(setattr, each, "training", was)
        module.train(training)
        yield
