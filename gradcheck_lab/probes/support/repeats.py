"""Runs of the base call that probes share: the call repeated, runs on given tensors, and when two results count as equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import Case, copy_tensor, is_differentiable
from gradcheck_lab.calls.tensor_kinds import as_numbers
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.model.precision import unit_roundoff, wide_dtype, widened
from gradcheck_lab.model.precision.budget import SAME_ROUNDINGS
from gradcheck_lab.model.precision.derived_calls import GROSS_CHANGE, GROSS_CHANGE_ROUNDINGS
from gradcheck_lab.oracles.autograd.simulated_rounding import perturb
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.subject import Key, Recording

Outcome = Literal["equal", "noise", "accumulates", "nondeterministic", "stochastic", "raises"]


@dataclass(frozen=True, slots=True)
class Repetition:
    """The base call run a second time.

    `first` are copies of the base gradients, `second` is the second run with the tensors that it returned, `second_copies` are
    copies of those, made at once. With `takes_no_upstream` the backward has no grad_output argument.
    """

    first: tuple[Any, ...]
    second: Run
    second_copies: tuple[Any, ...]
    outcome: Outcome
    takes_no_upstream: bool
    forward_ran: bool = True


def repetition(context: Context) -> Repetition:
    """Run the base call a second time, once for all probes of a case."""
    return context.once("repeated", lambda: _run_again(context))


def is_repeatable(context: Context) -> bool:
    """Whether the base call gives the same gradients again, up to rounding; only then can derived calls be compared with it."""
    return repetition(context).outcome in ("equal", "noise")


def compared_inputs(context: Context) -> list[int]:
    """The inputs whose gradients are compared: the differentiable ones that are not declared constant."""
    constants = context.subject.constants
    return [i for i, value in enumerate(context.case.inputs) if is_differentiable(value) and i not in constants]


def snapshot(values: Sequence[Any]) -> tuple[Any, ...]:
    """Copies of the tensors, dense and detached."""
    return tuple(v.detach().to_dense().clone() if isinstance(v, torch.Tensor) else v for v in values)


def backward_and_engine(
    context: Context, recording: Recording, grad_outputs: Sequence[torch.Tensor | None], seed: int
) -> tuple[Run, tuple[Any, ...] | None]:
    """Run a backward; return its run and the gradients that torch's engine delivers, None where there are none.

    A `grad_output` of None stands for an output that the loss does not use.
    """
    upstream: Any = tuple(None if grad is None else copy_tensor(grad) for grad in grad_outputs)
    try:
        returned = as_tuple(context.runner.backward(recording, upstream, seed).returned)
        run = Run(recording.outputs, tuple(map(as_numbers, returned)))
    except Exception as error:
        return Run(recording.outputs, (), error), None
    if recording.engine is None:
        return run, None
    try:
        return run, recording.engine(upstream)
    except Exception:  # the returned entries show what the engine refuses
        return run, None


def run_copied(context: Context, case: Case, new_forward: bool = False) -> Run:
    """Run a case and copy its results, so that no later call can overwrite them.

    With `new_forward` the forward runs too, even where a recorded one of the base call would do.
    """
    same_forward = not new_forward and case.inputs is context.case.inputs and case.options is context.case.options
    recording = (_reusable_recording(context) if same_forward else None) or context.record(case)
    if isinstance(recording, Exception):
        return Run(error=recording)
    outputs = snapshot(recording.outputs)
    run = context.backward(recording, case.grad_outputs or (), case.seed)
    return Run(outputs, snapshot(run.gradients), run.error)


def _reusable_recording(context: Context) -> Recording | None:
    """A recorded forward of the base call whose backward gives identical gradients every time, to be used for other upstreams.

    None where the backward changes something that a second backward reads.
    """
    return context.once("reusable recording", lambda: _record_reusable(context))


def _record_reusable(context: Context) -> Recording | None:
    if not context.subject.keeps_calls_apart or not is_repeatable(context):
        return None
    recording = context.record(context.case)
    if isinstance(recording, Exception):
        return None
    for _ in range(2):
        run = context.backward(recording, context.case.grad_outputs or (), context.case.seed)
        if run.error is not None or len(run.gradients) != len(repetition(context).first):
            return None
        gradients = snapshot(run.gradients)
        if not all(_is_identical(gradients[i], repetition(context).first[i]) for i in compared_inputs(context)):
            return None
    return recording


def run_on(context: Context, inputs: Sequence[Any]) -> Run | None:
    """Run forward on these tensors themselves, then backward with the base upstream; None where the forward raises."""
    recording = context.record_on(inputs, context.case)
    if isinstance(recording, Exception):
        return None
    outputs = snapshot(recording.outputs)
    run, _ = backward_and_engine(context, recording, context.case.grad_outputs or (), context.case.seed)
    return Run(outputs, snapshot(run.gradients), run.error)


def is_zero(value: Any) -> bool:
    """Whether a gradient is None or zero in every element."""
    return value is None or (isinstance(value, torch.Tensor) and not bool(value.detach().to_dense().any()))


def equal_within_noise(context: Context, index: int, actual: Any, expected: Any) -> bool:
    """Whether two gradients of one input differ by no more than rounding; None counts as zero."""
    if actual is None or expected is None:
        return is_zero(actual) and is_zero(expected)
    if not isinstance(actual, torch.Tensor) or not isinstance(expected, torch.Tensor):
        return type(actual) is type(expected)
    actual, expected = snapshot((actual, expected))
    if context.equal(actual, expected) or not is_gross(context, index, actual, expected):
        return True
    return _is_within_noise(context, actual, expected, lambda run: run.gradients[index])


def is_gross(context: Context, index: int, actual: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two runs differ by more than rounding and cancellation ever do, as mistakes in strides or state make them."""
    if actual.shape != expected.shape or not is_differentiable(actual) or not actual.numel():
        return True
    base = context.gradients[index] if index < len(context.gradients) else None
    wide = wide_dtype(actual.dtype)
    sizes = [torch.linalg.vector_norm(v.to(wide)) for v in (expected, base) if isinstance(v, torch.Tensor)]
    error = float(torch.linalg.vector_norm(actual.to(wide) - expected.to(wide)))
    share = min(GROSS_CHANGE.value, GROSS_CHANGE_ROUNDINGS.value * unit_roundoff(actual.dtype) ** 0.5)
    return not error <= share * max(float(size) for size in sizes)


def first_differing_input(context: Context, actual: Sequence[Any], expected: Sequence[Any]) -> int | None:
    """The first input whose gradient differs between two runs by more than rounding; None where there is none."""
    if len(actual) != len(expected):
        return next(iter(compared_inputs(context)), None)
    return next((i for i in compared_inputs(context) if not equal_within_noise(context, i, actual[i], expected[i])), None)


def outputs_equal_within_noise(context: Context, actual: Sequence[Any], expected: Sequence[Any], tied: bool = False) -> bool:
    """Whether the outputs of two forwards differ by no more than rounding; of `tied` values any index may be named."""
    return len(actual) == len(expected) and all(
        _output_equal_within_noise(context, k, actual[k], expected[k], tied) for k in range(len(actual))
    )


def _output_equal_within_noise(context: Context, k: int, mine: Any, theirs: Any, tied: bool) -> bool:
    if not is_differentiable(mine) or not is_differentiable(theirs):
        both = isinstance(mine, torch.Tensor) and isinstance(theirs, torch.Tensor)
        return not both or torch.equal(mine, theirs) or (tied and mine.shape == theirs.shape)
    mine, theirs = snapshot((mine, theirs))
    return context.equal(mine, theirs) or _is_within_noise(context, mine, theirs, lambda run: run.outputs[k])


def _is_within_noise(context: Context, actual: torch.Tensor, expected: torch.Tensor, select: Callable[[Run], Any]) -> bool:
    """Whether the difference is within the rounding error of this call, which cancellation and ill-conditioning enlarge."""
    if actual.shape != expected.shape or not is_differentiable(actual):
        return False
    truth, *found = [select(each) for each in _runs_under_rounding(context, actual.dtype)] or [None]
    if truth is None or not found or any(r is None or r.shape != expected.shape for r in [truth, *found]):
        return False
    wide = widened(expected)
    noise = [wide + (r.detach() - truth.detach()).to(wide) for r in found]
    both = torch.isnan(actual) & torch.isnan(expected)
    clean = actual.masked_fill(both, 0.0)
    return judge(clean, wide.masked_fill(both, 0.0), actual.dtype, noise, roundings=SAME_ROUNDINGS.value).passed


def _runs_under_rounding(context: Context, dtype: torch.dtype) -> list[Run]:
    """A run without and runs with simulated rounding: of the oracle, or of the hand-written side on perturbed inputs."""
    if context.uses_autograd:
        oracle, keys = context.oracle, [Key("input", i) for i in range(len(context.case.inputs))]
        passes = [oracle.truth(), *oracle.references("simulated", dtype), *oracle.references("independent", dtype)]
        return [Run(found.outputs, tuple(found.gradients.get(key) for key in keys)) for found in passes]
    return context.once(f"perturbed {dtype}", lambda: _runs_on_perturbed_inputs(context, dtype))


def _runs_on_perturbed_inputs(context: Context, dtype: torch.dtype) -> list[Run]:
    inputs, u = context.case.inputs, unit_roundoff(dtype)
    perturbed = [
        tuple(perturb(v, u, salt, independent) if is_differentiable(v) else v for v in inputs)
        for salt, independent in ((1, False), (2, False), (3, True))  # equal rows need not be rounded alike
    ]
    cases = [context.case_with(inputs=values) for values in perturbed]
    runs = [run_copied(context, case, new_forward=True) for case in (context.case, *cases)]
    return [run for run in runs if run.error is None]


def _run_again(context: Context) -> Repetition:
    first = snapshot(context.gradients)
    recording = context.record(context.case)
    if isinstance(recording, Exception):
        return Repetition(first, Run(error=recording), (), "raises", False, forward_ran=False)
    no_upstream = recording.fixed_grad_outputs is not None
    outputs = snapshot(recording.outputs)
    second = context.backward(recording, context.case.grad_outputs or (), context.case.seed)
    if second.error is not None:
        return Repetition(first, second, (), "raises", no_upstream)
    second, copies = Run(outputs, second.gradients), snapshot(second.gradients)
    if len(copies) == len(first):  # one copy of what is equal is enough
        copies = tuple(a if same_numbers(a, b) else b for a, b in zip(first, copies, strict=True))
    return Repetition(first, second, copies, _outcome(context, first, second, copies), no_upstream)


def _outcome(context: Context, first: tuple[Any, ...], second: Run, copies: tuple[Any, ...]) -> Outcome:
    at = first_differing_input(context, copies, first)
    if at is None:
        equal = all(_is_identical(copies[i], first[i]) for i in compared_inputs(context))
        return "equal" if equal else "noise"
    # an accumulating buffer grows equally with every call; two more calls, as the examination may have run the rule twice
    third, fourth = (run_copied(context, context.case, new_forward=True) for _ in range(2))
    if len(third.gradients) != len(copies) or len(fourth.gradients) != len(copies):
        return "nondeterministic"
    before, now, after = copies[at], third.gradients[at], fourth.gradients[at]
    tensors = all(isinstance(v, torch.Tensor) and v.shape == now.shape for v in (before, now, after))
    if tensors and equal_within_noise(context, at, after - now, now - before):
        return "accumulates"
    return "nondeterministic" if outputs_equal_within_noise(context, third.outputs, second.outputs) else "stochastic"


def same_numbers(a: Any, b: Any) -> bool:
    """Whether two values are tensors of the same numbers, in one dtype."""
    return isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)


def _is_identical(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b) or torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    return is_zero(a) and is_zero(b)
