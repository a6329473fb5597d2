"""What the probes of calls share: runs on given tensors, the base call once more, and when two gradients count as equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import Case, copy_tensor, is_differentiable
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.model.precision import unit_roundoff, wide_dtype, widened
from gradcheck_lab.model.precision.budget import SAME_ROUNDINGS
from gradcheck_lab.model.precision.derived_calls import GROSS_CHANGE, GROSS_CHANGE_ROUNDINGS
from gradcheck_lab.oracles.autograd.simulated_rounding import perturb
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.subject import Key, Recording

Repetition = Literal["equal", "noise", "accumulates", "nondeterministic", "stochastic", "raises"]


@dataclass(frozen=True, slots=True)
class Repeated:
    """The base call once more: `first` are the base gradients as they were, `again` the second run and `kept` its values."""

    first: tuple[Any, ...]
    again: Run
    kept: tuple[Any, ...]
    how: Repetition
    without_upstream: bool


def repeated(context: Context) -> Repeated:
    """The base call run a second time; probes of one examination share it."""
    return context.once("repeated", lambda: _repeat(context))


def repeatable(context: Context) -> bool:
    """Whether the base call gives the same gradients again, without which no derived call can be compared with it."""
    return repeated(context).how in ("equal", "noise")


def compared(context: Context) -> list[int]:
    """The inputs whose gradients mean anything."""
    constants = context.subject.constants
    return [i for i, value in enumerate(context.case.inputs) if is_differentiable(value) and i not in constants]


def snapshot(values: Sequence[Any]) -> tuple[Any, ...]:
    """Copies of the tensors, dense and apart from any graph."""
    return tuple(v.detach().to_dense().clone() if isinstance(v, torch.Tensor) else v for v in values)


def backward_given(
    context: Context, recording: Recording, grad_outputs: Sequence[torch.Tensor | None], seed: int
) -> tuple[Run, tuple[Any, ...] | None]:
    """Run a backward, None for an output that nothing used; what it returned and what torch's engine made of it."""
    upstream: Any = tuple(None if grad is None else copy_tensor(grad) for grad in grad_outputs)
    try:
        run = Run(recording.outputs, as_tuple(context.runner.backward(recording, upstream, seed).returned))
    except Exception as error:
        return Run(recording.outputs, (), error), None
    if recording.engine is None:
        return run, None
    try:
        return run, recording.engine(upstream)
    except Exception:  # the engine refuses what the raw entries show anyway
        return run, None


def run_kept(context: Context, case: Case, fresh: bool = False) -> Run:
    """Run a case, with copies of what it gave, which no later call can write to; `fresh` with a forward of its own."""
    again = not fresh and case.inputs is context.case.inputs and case.options is context.case.options
    recording = (_reusable(context) if again else None) or context.record(case)
    if isinstance(recording, Exception):
        return Run(error=recording)
    outputs = snapshot(recording.outputs)
    run = context.backward(recording, case.grad_outputs or (), case.seed)
    return Run(outputs, snapshot(run.gradients), run.error)


def _reusable(context: Context) -> Recording | None:
    """A recorded forward of the base call whose backward gives the same every time, which saves a forward for every upstream.

    None for what keeps or adds up something between two backwards.
    """
    return context.once("reusable recording", lambda: _reused(context))


def _reused(context: Context) -> Recording | None:
    if not context.subject.keeps_calls_apart or not repeatable(context):
        return None
    recording = context.record(context.case)
    if isinstance(recording, Exception):
        return None
    for _ in range(2):
        run = context.backward(recording, context.case.grad_outputs or (), context.case.seed)
        if run.error is not None or len(run.gradients) != len(repeated(context).first):
            return None
        kept = snapshot(run.gradients)
        if not all(_identical(kept[i], repeated(context).first[i]) for i in compared(context)):
            return None
    return recording


def run_given(context: Context, inputs: Sequence[Any]) -> Run | None:
    """Forward on these very tensors, then backward with the base upstream; None where the forward refuses them."""
    recording = context.record_given(inputs, context.case)
    if isinstance(recording, Exception):
        return None
    outputs = snapshot(recording.outputs)
    run, _ = backward_given(context, recording, context.case.grad_outputs or (), context.case.seed)
    return Run(outputs, snapshot(run.gradients), run.error)


def is_zero(value: Any) -> bool:
    """Whether a gradient is None or zero in every element."""
    return value is None or (isinstance(value, torch.Tensor) and not bool(value.detach().to_dense().any()))


def alike(context: Context, index: int, actual: Any, expected: Any) -> bool:
    """Whether two gradients of one input are equal up to rounding, None standing for zero."""
    if actual is None or expected is None:
        return is_zero(actual) and is_zero(expected)
    if not isinstance(actual, torch.Tensor) or not isinstance(expected, torch.Tensor):
        return type(actual) is type(expected)
    actual, expected = snapshot((actual, expected))
    if context.equal(actual, expected) or not _gross(context, index, actual, expected):
        return True
    return _within_noise(context, actual, expected, lambda run: run.gradients[index])


def _gross(context: Context, index: int, actual: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two runs differ by more than cancellation makes of rounding: a mistake in strides or state is no small thing."""
    if actual.shape != expected.shape or not is_differentiable(actual) or not actual.numel():
        return True
    base = context.gradients[index] if index < len(context.gradients) else None
    wide = wide_dtype(actual.dtype)
    sizes = [torch.linalg.vector_norm(v.to(wide)) for v in (expected, base) if isinstance(v, torch.Tensor)]
    error = float(torch.linalg.vector_norm(actual.to(wide) - expected.to(wide)))
    share = min(GROSS_CHANGE.value, GROSS_CHANGE_ROUNDINGS.value * unit_roundoff(actual.dtype) ** 0.5)
    return not error <= share * max(float(size) for size in sizes)


def differing(context: Context, actual: Sequence[Any], expected: Sequence[Any]) -> int | None:
    """The first input whose gradient differs between two runs; None when all are alike."""
    if len(actual) != len(expected):
        return next(iter(compared(context)), None)
    return next((i for i in compared(context) if not alike(context, i, actual[i], expected[i])), None)


def outputs_alike(context: Context, actual: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Whether two forwards gave the same, up to rounding."""
    return len(actual) == len(expected) and all(_output_alike(context, k, actual[k], expected[k]) for k in range(len(actual)))


def _output_alike(context: Context, k: int, mine: Any, theirs: Any) -> bool:
    if not is_differentiable(mine) or not is_differentiable(theirs):
        both = isinstance(mine, torch.Tensor) and isinstance(theirs, torch.Tensor)
        return not both or torch.equal(mine, theirs)
    mine, theirs = snapshot((mine, theirs))
    return context.equal(mine, theirs) or _within_noise(context, mine, theirs, lambda run: run.outputs[k])


def _within_noise(context: Context, actual: torch.Tensor, expected: torch.Tensor, pick: Callable[[Run], Any]) -> bool:
    """Whether the difference is what rounding does to this call: cancellation and ill-conditioned inputs raise it."""
    if actual.shape != expected.shape or not is_differentiable(actual):
        return False
    truth, *found = [pick(each) for each in _perturbed(context, actual.dtype)] or [None]
    if truth is None or not found or any(r is None or r.shape != expected.shape for r in [truth, *found]):
        return False
    wide = widened(expected)
    noise = [wide + (r.detach() - truth.detach()).to(wide) for r in found]
    both = torch.isnan(actual) & torch.isnan(expected)
    clean = actual.masked_fill(both, 0.0)
    return judge(clean, wide.masked_fill(both, 0.0), actual.dtype, noise, roundings=SAME_ROUNDINGS.value).passed


def _perturbed(context: Context, dtype: torch.dtype) -> list[Run]:
    """A run, and the same under simulated rounding: of the oracle, else of the hand-written side on perturbed inputs."""
    if context.analytic:
        oracle, keys = context.oracle, [Key("input", i) for i in range(len(context.case.inputs))]
        passes = [oracle.truth(), *oracle.references("simulated", dtype)]
        return [Run(found.outputs, tuple(found.gradients.get(key) for key in keys)) for found in passes]
    return context.once(f"perturbed {dtype}", lambda: _perturbed_by_hand(context, dtype))


def _perturbed_by_hand(context: Context, dtype: torch.dtype) -> list[Run]:
    inputs, u = context.case.inputs, unit_roundoff(dtype)
    nudged = [tuple(perturb(v, u, salt) if is_differentiable(v) else v for v in inputs) for salt in (1, 2)]
    cases = [context.vary(inputs=values) for values in nudged]
    runs = [run_kept(context, case, fresh=True) for case in (context.case, *cases)]
    return [run for run in runs if run.error is None]


def _repeat(context: Context) -> Repeated:
    first = snapshot(context.gradients)
    recording = context.record(context.case)
    if isinstance(recording, Exception):
        return Repeated(first, Run(error=recording), (), "raises", False)
    without = recording.fixed_grad_outputs is not None
    outputs = snapshot(recording.outputs)
    again = context.backward(recording, context.case.grad_outputs or (), context.case.seed)
    if again.error is not None:
        return Repeated(first, again, (), "raises", without)
    again, kept = Run(outputs, again.gradients), snapshot(again.gradients)
    return Repeated(first, again, kept, _how(context, first, again, kept), without)


def _how(context: Context, first: tuple[Any, ...], again: Run, kept: tuple[Any, ...]) -> Repetition:
    at = differing(context, kept, first)
    if at is None:
        equal = all(_identical(kept[i], first[i]) for i in compared(context))
        return "equal" if equal else "noise"
    # the examination may have run the rule more than once: the increments of two further calls tell
    third, fourth = (run_kept(context, context.case, fresh=True) for _ in range(2))
    if len(third.gradients) != len(kept) or len(fourth.gradients) != len(kept):
        return "nondeterministic"
    before, now, after = kept[at], third.gradients[at], fourth.gradients[at]
    tensors = all(isinstance(v, torch.Tensor) and v.shape == now.shape for v in (before, now, after))
    if tensors and alike(context, at, after - now, now - before):
        return "accumulates"
    return "nondeterministic" if outputs_alike(context, third.outputs, again.outputs) else "stochastic"


def _identical(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    return is_zero(a) and is_zero(b)
