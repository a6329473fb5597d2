"""Run the hand-written forward and backward of one case, and find the tensors that they wrote to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, copy_tensor, is_differentiable
from gradcheck_lab.calls.randomness import has_torch_drawn_since, torch_states
from gradcheck_lab.calls.tensor_kinds import what_else
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.comparison.isolated_rule import detached
from gradcheck_lab.comparison.slices import numbers
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.examined import Examined, ManualRun, Policy
from gradcheck_lab.examination.in_pieces import is_large
from gradcheck_lab.kernels.answers import ANSWERS
from gradcheck_lab.kernels.refusals import CannotInterpret, needs_device, refused_device
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.exceptions import class_name
from gradcheck_lab.model.findings import Finding, Stage
from gradcheck_lab.model.limits import COMPARED_FOR_WRITES
from gradcheck_lab.model.raised import raised_cause
from gradcheck_lab.model.user_errors import first_line, user_traceback, wrong_count
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.oracles.autograd.replayed_draws import replayed
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.data_inputs import data_inputs, data_note
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Recording, Subject
from gradcheck_lab.torch_internals import writes_to

Result = TypeVar("Result")


def run_manual(runner: Runner, case: Case, policy: Policy) -> Examined:
    """Run the hand-written forward and backward; `run` is None where one raises or returns a wrong count, which a finding says.

    Raises `InvalidArgument` for outputs that are no tensors and for grad_outputs that do not fit them.
    """
    given = case.grad_outputs
    handed_out, inputs = copy_inputs(case.inputs), detached(case.inputs)
    runner.begin(case.seed, forward=1)
    states = torch_states()
    recording = result_or_finding(
        partial(runner.subject.record, handed_out, case.options), "forward", "look at the forward's traceback below"
    )
    if isinstance(recording, Finding):
        case = replace(case, inputs=inputs)
        return Examined(runner, case, policy, AutogradOracle(runner, case)).with_findings(recording)
    drew_random = has_torch_drawn_since(states)
    if recording.kind is not None:
        runner = replace(runner, subject=replace(runner.subject, kind=recording.kind))
    if recording.constants:
        runner = replace(runner, subject=replace(runner.subject, constants=runner.subject.constants | recording.constants))
    _refuse_outputs(runner.subject, recording)
    if not policy.derived:
        _refuse_non_finite(runner.subject, inputs, recording)
    case = replace(case, inputs=inputs, grad_outputs=_grad_outputs(runner.subject, recording, case, policy))
    oracle_runner = replayed(runner, case) if drew_random else runner
    findings = recording.findings
    large = is_large(case)
    outputs = detached(recording.outputs) if policy.has_reference or large else ()
    drawn = large and given is None and recording.fixed_grad_outputs is None
    # what was drawn can be drawn again, which takes no memory while the backward runs
    upstream = case.grad_outputs or () if drawn else tuple(copy_tensor(grad) for grad in case.grad_outputs or ())
    # free what the forward saved, which may be large, as soon as the backward has run
    backward = _run_backward(runner, recording, upstream, case.seed)
    carries, labels = _carry_gradients(recording), runner.subject.labels
    is_state = partial(_is_state, runner, case, recording.keeps_in)
    shapes = [tuple(o.shape) for o in recording.outputs if is_differentiable(o)]
    written = _write_findings("mutates-input", labels, handed_out, inputs, policy.thorough, is_state)
    del recording, handed_out
    if drawn:
        case = replace(case, grad_outputs=_drawn(upstream, carries, case.seed))
    if isinstance(backward, Finding):
        return Examined(runner, case, policy, AutogradOracle(oracle_runner, case)).with_findings(*findings, backward)
    grads = ["grad_output" if len(upstream) == 1 else f"grad_output {i}" for i in range(len(upstream))]
    written += _write_findings("mutates-grad-output", grads, upstream, case.grad_outputs or (), policy.thorough)
    del upstream
    data = data_inputs(runner.subject, case.inputs, backward.returned, shapes)
    if not policy.derived:
        findings += tuple(_data_notes(runner.subject, case.inputs, data))
    constants = runner.subject.constants | data
    # a probe leaves out what is known to be wrong too, which is no data; what gets no gradient is not differentiated by
    pairs = enumerate(zip(case.inputs, backward.returned, strict=False))
    unwanted = {i for i, (value, grad) in pairs if grad is None and is_differentiable(value)}
    fixed = runner.subject.fixed | unwanted | (data if policy.derived else constants)
    if constants != runner.subject.constants or fixed != runner.subject.fixed:
        runner = replace(runner, subject=replace(runner.subject, constants=constants, fixed=fixed))
        oracle_runner = replace(oracle_runner, subject=replace(oracle_runner.subject, fixed=fixed))
    oracle = AutogradOracle(oracle_runner, case, copies=bool(written))
    examined = Examined(runner, case, policy, oracle, replace(backward, outputs=outputs) if outputs else backward)
    examined = examined.with_findings(*findings, *written)
    if len(backward.returned) != len(case.inputs):
        return replace(examined, run=None).with_findings(wrong_count(backward.returned, len(case.inputs), None))
    return examined


def _data_notes(subject: Subject, inputs: Sequence[Any], data: frozenset[int]) -> Iterator[Finding]:
    """A note for each input of the user's call that is taken for data."""
    constants = subject.constants | data
    wanted = [subject.names[i] for i, v in enumerate(inputs) if is_differentiable(v) and i not in constants]
    return (data_note(subject, i, wanted) for i in sorted(data | subject.data))


def result_or_finding(call: Callable[[], Result], stage: Stage, suggestion: str) -> Result | Finding:
    """Call the user's code and return its result, or the finding that it raised.

    Code around interpreted kernels that raises for want of a device is called again with answers as of one.
    """
    try:
        return call()
    except InvalidArgument:
        raise
    except Exception as error:
        if needs_device(error):
            if not ANSWERS.asked:
                ANSWERS.asked = True
                try:
                    return result_or_finding(call, stage, suggestion)
                except CannotInterpret:
                    ANSWERS.asked = False
            raise refused_device(error) from error
        cause, what = raised_cause(error), "reference" if stage == "oracle" else stage
        has_no_memory = cause == "memory-exceeded"
        return Finding(
            cause,
            "error",
            f"{what} ran out of memory" if has_no_memory else f"{what} raised {type(error).__name__}",
            explanation=first_line(error),
            suggestion=CAUSES[cause].fix if has_no_memory else suggestion,
            traceback=user_traceback(error),
            stage=stage,
            exception=class_name(error),
        )


def _refuse_outputs(subject: Subject, recording: Recording) -> None:
    outputs = recording.outputs
    for index, output in enumerate(outputs):
        if not isinstance(output, torch.Tensor):
            raise InvalidArgument(
                f"the forward of {subject.name} returned a {type(output).__name__} as output {index}; "
                "return a tensor or a tuple of tensors"
            )
        if (other := what_else(output)) is not None:
            raise InvalidArgument(
                f"the forward of {subject.name} returned {other[0]} as output {index}; return {other[1]} for the check"
            )
        if output.dtype == torch.complex32:
            raise InvalidArgument(
                f"output {index} of {subject.name} is complex32, in which torch hardly computes; return complex64"
            )
    if not any(is_differentiable(output) for output in outputs):
        dtypes = ", ".join(sorted({str(output.dtype).removeprefix("torch.") for output in outputs}))
        raise InvalidArgument(
            f"nothing to compare: no output of {subject.name} is a floating tensor ({dtypes or 'there is none'}); "
            "return one that a gradient is wanted of"
        )


def _refuse_non_finite(subject: Subject, inputs: Sequence[Any], recording: Recording) -> None:
    """Refuse NaN and inf that reach the outputs; those that do not, as the -inf of a mask, are values like any other."""
    for label, finite in zip(subject.labels, _each_finite(inputs), strict=True):
        if not finite and not all(_each_finite(recording.outputs)):
            raise InvalidArgument(
                f"{label} of {subject.name} holds NaN or inf, where no gradient is defined; pass finite numbers"
            )


def _each_finite(values: Sequence[Any]) -> list[bool]:
    """Whether all elements of each value are finite; true for what is no floating tensor."""
    floating = [value.detach() for value in values if is_differentiable(value)]
    # a finite sum proves that all are finite, in one pass without a temporary; it may overflow, so else look at each
    sums = iter(numbers(*(torch.isfinite(value.sum()) for value in floating)) if floating else ())
    return [not is_differentiable(value) or bool(next(sums)) or bool(torch.isfinite(value.detach()).all()) for value in values]


def _grad_outputs(subject: Subject, recording: Recording, case: Case, policy: Policy) -> tuple[torch.Tensor, ...]:
    given, outputs = case.grad_outputs, recording.outputs
    if recording.fixed_grad_outputs is not None:
        if given is not None and not policy.derived:
            raise InvalidArgument(
                f"the backward of {subject.name} takes no upstream gradient; leave grad_output out: it is checked with ones"
            )
        return recording.fixed_grad_outputs
    if given is None:
        return _drawn(outputs, _carry_gradients(recording), case.seed)
    if len(given) != len(outputs):
        raise InvalidArgument(
            f"{len(given)} grad_outputs were given and {subject.name} has {len(outputs)} outputs; "
            "pass one per output, as a tuple"
        )
    for index, (grad, output) in enumerate(zip(given, outputs, strict=True)):
        if not isinstance(grad, torch.Tensor):
            raise InvalidArgument(f"grad_output {index} is a {type(grad).__name__}; pass a tensor of the output's shape")
        if (other := what_else(grad)) is not None:
            raise InvalidArgument(f"grad_output {index} is {other[0]}; pass {other[1]}")
        if tuple(grad.shape) != tuple(output.shape):
            raise InvalidArgument(
                f"grad_output {index} has shape {tuple(grad.shape)} and output {index} of {subject.name} has "
                f"{tuple(output.shape)}; pass one of the output's shape"
            )
    carrying = [grad for grad, output in zip(given, outputs, strict=True) if is_differentiable(output)]
    if not policy.derived and not any(bool(grad.any()) for grad in carrying):
        raise InvalidArgument(
            f"grad_output is zero in every element, and so is every gradient of {subject.name} then; leave it out"
        )
    if not policy.derived and not all(_each_finite(carrying)):
        raise InvalidArgument("grad_output holds NaN or inf; pass finite numbers")
    return tuple(copy_tensor(grad).to(output) for grad, output in zip(given, outputs, strict=True))


def _carry_gradients(recording: Recording) -> list[bool]:
    """Which outputs an upstream gradient is drawn for."""
    known, unused = recording.engine is None, recording.unused
    return [is_differentiable(o) and (known or o.requires_grad) and i not in unused for i, o in enumerate(recording.outputs)]


def _drawn(like: Sequence[torch.Tensor], carries: Sequence[bool], seed: int) -> tuple[torch.Tensor, ...]:
    """Upstream gradients of the shapes and dtypes of `like`, equal for an equal seed; zero for outputs that carry none."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(random_like(v, generator) if c else torch.zeros_like(v) for v, c in zip(like, carries, strict=True))


def _run_backward(runner: Runner, recording: Recording, upstream: tuple[torch.Tensor, ...], seed: int) -> ManualRun | Finding:
    manual = result_or_finding(
        partial(runner.backward, recording, upstream, seed), "backward", "look at the backward's traceback below"
    )
    if isinstance(manual, Finding):
        return manual
    delivered, refusal = None, None
    if recording.engine is not None:
        try:
            delivered = recording.engine(upstream)
        except Exception as error:  # reported only where comparing the returned entries shows no error
            refusal = Finding(
                "raises",
                "error",
                "torch's engine refused what backward returned",
                explanation=first_line(error),
                suggestion="return what the engine expects: one gradient per tensor, None for every other argument",
                stage="engine",
                exception=class_name(error),
            )
    calls = recording.calls if runner.subject.is_program else ()
    return ManualRun(
        tuple(as_tuple(manual.returned)), recording.several, manual.intermediates, delivered, refusal, calls,
        takes_upstream=recording.fixed_grad_outputs is None, upstream_dtypes=frozenset(g.dtype for g in upstream),
        links=recording.links,
    )  # fmt: skip


def _write_findings(
    cause: str,
    names: Sequence[str],
    handed_out: Sequence[Any],
    before: Sequence[Any],
    thorough: bool,
    is_state: Callable[[int], bool] = lambda index: False,
) -> list[Finding]:
    """A finding for each tensor that the user's code wrote to; a note for one, by number, that `is_state`."""
    found = []
    same = _same_at_once(handed_out, before)
    for i, (name, mine, given) in enumerate(zip(names, handed_out, before, strict=True)):
        if not isinstance(mine, torch.Tensor) or i in same or not _is_written(mine, given, thorough):
            continue
        finding = Finding(
            cause,
            "error",
            f"{name} was written to",
            explanation="its values changed during the call, so whoever else holds it reads wrong numbers",
            suggestion="write to a new tensor, or to a clone",
        )
        if is_state(i):
            text = "torch's own operation keeps a state there, without a gradient, that the outputs of this call do not use"
            finding = replace(finding, severity="note", explanation=text, suggestion="")
        found.append(finding)
    return found


def _is_state(runner: Runner, case: Case, keeps_in: Callable[[int | str], bool], index: int) -> bool:
    """Whether torch's own operations keep a state in an input that nobody wants a gradient of."""
    if index not in runner.subject.constants:
        return False
    runner.begin(case.seed, forward=2)
    try:
        return keeps_in(index)
    except Exception:  # the user's code does not run again where it has run
        return False


def _same_at_once(after: Sequence[Any], before: Sequence[Any]) -> set[int]:
    """Which tensors of a device have the values that they had, by one read of it; each read waits for all its work."""
    pairs = zip(after, before, strict=True)
    chosen = {
        i: (a == b).all()
        for i, (a, b) in enumerate(pairs)
        if isinstance(a, torch.Tensor) and not a.is_cpu and a.numel() <= COMPARED_FOR_WRITES.value
    }
    equal = numbers(*chosen.values()) if chosen else []
    return {i for i, is_equal in zip(chosen, equal, strict=True) if is_equal}


def _is_written(after: torch.Tensor, before: torch.Tensor, thorough: bool) -> bool:
    # torch counts its own writes; others show only when the values are compared, which takes a pass over memory
    if thorough or after.numel() <= COMPARED_FOR_WRITES.value:
        return not _same(after, before)
    return writes_to(after) > 0


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    if torch.equal(a, b):
        return True
    if not is_differentiable(a) or not bool(torch.isnan(a).any()):
        return False
    return bool(((a == b) | (torch.isnan(a) & torch.isnan(b))).all())
