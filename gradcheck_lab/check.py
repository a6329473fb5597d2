"""The verb `check`: compare every gradient of one call with an oracle, and run the probes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.lost_device import refuse_dead_device, refuse_lost_device
from gradcheck_lab.calls.process_state import preserved_state
from gradcheck_lab.calls.randomness import seed_all
from gradcheck_lab.calls.tensor_kinds import what_else
from gradcheck_lab.diagnosis.allowance import Allowance
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.examined import Examined, Policy
from gradcheck_lab.examination.pipeline import examine
from gradcheck_lab.examination.reporting import Asked, begun_report, report_of
from gradcheck_lab.isolation import Subjected, ended_report, isolated, limits_of
from gradcheck_lab.kernels.answers import ANSWERS
from gradcheck_lab.kernels.starting import interpreted_since, launches
from gradcheck_lab.model.arguments import Wrt, name_of, options_of, reading, refuse_names, refuse_order, refuse_unknown, seed_of
from gradcheck_lab.model.causes import CAUSES
from gradcheck_lab.model.exceptions import DeviceLost
from gradcheck_lab.model.raised import DEVICE_IS_LOST, device_error
from gradcheck_lab.model.torch_messages import out_of_memory
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.model.watching import probing, refuse_without_memory, watches
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.probes import ALL, PROBES, Probe
from gradcheck_lab.probes.support import running
from gradcheck_lab.probes.support.running import run_probes
from gradcheck_lab.report import Report
from gradcheck_lab.reproduction.check_call import check_line
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects import adapt
from gradcheck_lab.subjects.contained import own_copies
from gradcheck_lab.subjects.reference import with_reference
from gradcheck_lab.subjects.run_lines.summary import not_run
from gradcheck_lab.subjects.run_lines.watch import watched
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Subject
from gradcheck_lab.workers.outcome import LostDevice


def check(
    op: Any,
    *inputs: Any,
    options: Mapping[str, Any] | None = None,
    reference: Any = None,
    grad_output: torch.Tensor | Sequence[torch.Tensor] | None = None,
    order: int = 1,
    probes: Collection[str | Probe] = ALL,
    allow: Collection[str] = (),
    wrt: Wrt | None = None,
    seed: int = 0,
    isolate: bool | None = None,
    timeout: float | None = None,
    memory_limit: int | None = None,
    **unknown: Any,
) -> Report:
    """Check every gradient of one call of `op` against autograd on the same forward.

    `op` is a `gl.Op` or a function that calls ops; `inputs` are its tensors, of any shape and floating dtype that its
    forward takes; `options` go to the forward by keyword. `reference` is the same function in torch, used as the oracle
    instead of the forward itself. `grad_output` has the output's shape (one per output, as a tuple, for several); it is drawn
    at random when left out. `probes=()` compares only; besides names it takes functions of a
    `gradcheck_lab.probes.Context` that yield findings. "compiled" is run where it is named alone, as in
    `probes=gl.ALL | {"compiled"}`: it takes seconds to minutes. `allow` names causes that are notes: such a mistake
    is taken away from the gradient that has it, and the rest is compared as ever.
    `wrt` names the inputs, or gives their positions, that need a gradient: the others are data, targets or masks. Left out,
    `requires_grad` says so, where some tensors have it; else every floating input needs one. Parameters do in any case.
    With `order=2` the backward's own derivatives have to be right as well; with `order=1` a second derivative that is silently
    wrong is a warning.

    With `isolate` the call runs in a process of its own, so that one that ends its process, takes longer than `timeout`
    seconds or more than `memory_limit` bytes is a finding, `crashed`, `timed-out` or `memory-exceeded`, beside what was known
    until then; either limit isolates by itself. The inputs, their `.grad`, the global generators and the other state of the
    process are left as they were, whatever `op` does; modes around the call, such as autocast, do not reach it.

    Returns a `Report`. Raises `InvalidArgument` for arguments that do not fit, and where there is no gradient to compare.
    Source of the error budget: `gradcheck_lab.comparison.budget`.

    >>> import torch
    >>> from gradcheck_lab import ops
    >>> x, w, b = torch.randn(4, 3).double(), torch.randn(2, 3).double(), torch.randn(2).double()
    >>> check(ops.linear, x, w, b).verdict
    'pass'
    """
    refuse_unknown("check", unknown, options)
    seed, limits = seed_of(seed), limits_of(isolate, timeout, memory_limit)
    asked: dict[str, Any] = {"options": options, "reference": reference, "grad_output": grad_output, "order": order}
    asked |= {"probes": probes, "allow": allow, "wrt": wrt, "seed": seed}
    if limits is None:
        report = checked_here(op, *inputs, **asked)
        lost = any(finding.cause == "device-lost" for finding in report.findings)
    else:
        report, lost = isolated(partial(checked, op, *inputs, **asked), Subjected(name_of(op), seed, ""), limits), False
    if report.verdict == "pass" or lost:  # no tensor there can be read any more, so no line of Python is made of them
        return report
    asked |= {"isolate": isolate, "timeout": timeout, "memory_limit": memory_limit}
    return replace(report, reproduce=check_line(op, inputs, asked, report))


def checked_here(op: Any, *inputs: Any, **asked: Any) -> Report:
    """The report of `checked`, also of a call that ends the context of its device; a worker process ends with that."""
    try:
        return checked(op, *inputs, **asked)
    except DeviceLost as lost:
        if watches:
            raise
        subject = Subjected(name_of(op), seed_of(asked.get("seed", 0)), "")
        report = ended_report(lost.known, subject, LostDevice(device_error(lost), lost.words), "")
        return replace(report, reasons=(*report.reasons, DEVICE_IS_LOST))


def checked(
    op: Any,
    *inputs: Any,
    options: Mapping[str, Any] | None = None,
    reference: Any = None,
    grad_output: torch.Tensor | Sequence[torch.Tensor] | None = None,
    order: int = 1,
    probes: Collection[str | Probe] = ALL,
    allow: Collection[str] = (),
    wrt: Wrt | None = None,
    seed: int = 0,
) -> Report:
    """The report of `check` in this process, without the line that reproduces a failure.

    Raises `DeviceLost`, with what is known, for a call that ended the context of its device.
    """
    started = time.perf_counter()
    _refuse_arguments(op, inputs, order, probes, allow)
    refuse_dead_device(name_of(op), inputs)
    probing()
    launched = launches()
    ANSWERS.asked = False
    asked = Asked(order, allow, seed_of(seed), started)
    with preserved_state(asked.seed):
        with reading("the arguments"):
            keywords = {name: own_copies(value) for name, value in options_of(options).items()}
            subject = adapt(op, inputs, keywords, wrt)
            _refuse_inputs(subject)
            if reference is not None:
                subject = with_reference(subject, reference)
            subject = replace(subject, allowed=Allowance(frozenset(allow)))
            case = Case(subject.inputs, keywords, None if grad_output is None else tuple(as_tuple(grad_output)), asked.seed)
        seed_all(asked.seed)
        for watch in watches:
            watch.known(begun_report(subject, asked))
        policy = Policy(thorough=len(probes) > 0, has_reference=reference is not None)
        with watched("missing_branches" in probes, subject.inputs) as seen:
            try:
                report = report_of(_examined(Runner(subject), case, policy, probes, asked), asked)
            except DeviceLost as lost:
                lost.known = _known_report(lost.known, subject, asked)
                raise
        ran = interpreted_since(launched)
        return replace(report, not_run=not_run(seen), environment={**report.environment, **ran})


def assert_gradients(op: Any, *inputs: Any, **arguments: Any) -> Report:
    """Run `check` with the same arguments and return its report; raise `GradientMismatch` unless it passes.

    >>> import torch
    >>> from gradcheck_lab import ops
    >>> assert_gradients(ops.relu, torch.tensor([-1.0, 2.0])).verdict
    'pass'
    """
    report = check(op, *inputs, **arguments)
    report.raise_if_failed()
    return report


def _examined(runner: Runner, case: Case, policy: Policy, probes: Collection[str | Probe], asked: Asked) -> Examined:
    """Examine the call and run the probes; where this package itself raises, the verdict of what is known is inconclusive."""
    examined = Examined(runner, case, policy, AutogradOracle(runner, case))

    def tell(known: Examined) -> None:
        with suppress(InvalidArgument):  # nothing was compared yet
            report = report_of(known, asked)
            for watch in watches:
                watch.known(report)

    try:
        with _knowing(lambda: examined):
            examined = examine(runner, case, policy)
            if watches:
                tell(examined)
            return run_probes(PROBES, examined.with_excuses(), probes, asked.order, tell)
    except InvalidArgument:
        raise
    except Exception as error:
        refuse_without_memory(error)
        if out_of_memory(error):
            why = f"memory ran out while the gradients were compared, {class_and_line(error)}; check a smaller call"
            return examined.inconclusive_because(why)
        if running.STRICT:
            raise
        return examined.inconclusive_because(f"gradcheck_lab itself raised {class_and_line(error)}; please report it")


@contextmanager
def _knowing(known: Callable[[], Examined]) -> Iterator[None]:
    """A block whose errors are asked whether they ended the context of the device; if so, what is known goes with that."""
    try:
        try:
            yield
        except Exception as error:
            refuse_lost_device(error, known().case.inputs)
            raise
    except DeviceLost as lost:
        lost.known = lost.known or known()
        raise


def _known_report(known: Examined | None, subject: Subject, asked: Asked) -> Report:
    """The report of what is known, as far as it can be read where the device no longer works."""
    with suppress(Exception):
        if known is not None:
            return report_of(known, asked)
    return begun_report(subject, asked)


def _refuse_arguments(
    op: Any, inputs: tuple[Any, ...], order: int, probes: Collection[str | Probe], allow: Collection[str]
) -> None:
    if not inputs:
        name = name_of(op)
        raise InvalidArgument(f"{name} was given no inputs; pass its tensors: gl.check({name}, x, ...)")
    refuse_order(order)
    named = [p for p in probes if not callable(p)] if isinstance(probes, Collection) and not isinstance(probes, str) else probes
    refuse_names("probes", named, PROBES)
    refuse_names("allow", allow, CAUSES)


def _refuse_inputs(subject: Subject) -> None:
    name = subject.name
    tensors = [value for value in subject.inputs if isinstance(value, torch.Tensor)]
    for label, value in zip(subject.labels, subject.inputs, strict=True):
        if isinstance(value, torch.Tensor) and value.layout not in (torch.strided, torch.sparse_coo):
            layout = str(value.layout).removeprefix("torch.")
            raise InvalidArgument(f"{label} of {name} has the layout {layout}; pass it dense, or sparse in COO layout")
    devices = sorted({str(value.device) for value in tensors if value.ndim})
    if len(devices) > 1:
        raise InvalidArgument(f"the inputs of {name} are on {' and '.join(devices)}; move them to one device")
    for label, value in zip(subject.labels, subject.inputs, strict=True):
        if is_differentiable(value) and (other := what_else(value)) is not None:
            raise InvalidArgument(f"{label} of {name} is {other[0]}; pass {other[1]}")
    if not any(is_differentiable(value) for value in tensors):
        dtypes = ", ".join(sorted({str(value.dtype).removeprefix("torch.") for value in tensors}))
        raise InvalidArgument(
            f"nothing to compare: no input of {name} is a floating tensor ({dtypes or 'None'}); "
            "pass x.double() where a gradient is wanted"
        )
