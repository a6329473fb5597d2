"""Where the truth of a call on an accelerator is evaluated: there, or on the host where the memory there does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.devices import free_memory
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.examined import Examined, ManualRun, NoTruth, NumericTruth
from gradcheck_lab.examination.in_pieces import is_large
from gradcheck_lab.model.precision import is_wide
from gradcheck_lab.model.user_errors import class_and_line
from gradcheck_lab.oracles.autograd.passes import AutogradOracle


def judged_to_spare_the_device(examined: Examined, judge: Callable[[Examined], Examined]) -> Examined | None:
    """What `judge` makes on the host of a large call on an accelerator that is compared alone, else None.

    Such a comparison takes little more of the device's memory than the user's code does. None also where autograd does not
    follow the forward on the host, as where it is a kernel of the device.
    """
    policy, device = examined.policy, _device(examined.case)
    if policy.thorough or policy.derived or policy.has_reference or not is_large(examined.case):
        return None
    if device is None or free_memory(device) is None or examined.subject.trace is None:
        return None
    found = _judged_on_the_host(examined, judge)
    if isinstance(found, str):  # whatever the host says of it, the device says what counts
        return None
    return replace(found, truth=replace(found.truth, name=f"{found.truth.name} on the host, which spares {device}"))


def judged_where_memory_allows(examined: Examined, judge: Callable[[Examined], Examined]) -> Examined:
    """What `judge` makes of a call that ran, with the truth where there is memory for it.

    That is the device of the call, unless its memory cannot hold the truth or runs out of it: then all is copied to the host
    and judged there, derived calls too, and the name of the oracle says so. Where the forward does not run there, the verdict
    is inconclusive.
    """
    device = _device(examined.case)
    free = None if device is None else free_memory(device)
    if free is None or examined.subject.trace is None or examined.policy.by_numbers:
        return judge(examined)
    if least_memory(examined.case) <= free:
        try:
            found = judge(examined)
        except torch.OutOfMemoryError:
            pass
        else:
            if not _ran_out(found):
                return found
    short = f"{device} has too little memory for the truth in float64"
    there = _judged_on_the_host(examined, judge)
    if isinstance(there, str):
        return examined.inconclusive_because(f"{short}{there}; check a smaller call")
    return replace(there, truth=replace(there.truth, name=f"{there.truth.name} on the host, since {short}"))


def _judged_on_the_host(examined: Examined, judge: Callable[[Examined], Examined]) -> Examined | str:
    """What `judge` makes of the call there; why autograd does not follow it, as the end of a sentence, where it does not."""
    moved = on_the_host(examined)
    if moved is None:
        return ""
    try:
        found = judge(moved)
    except InvalidArgument:
        raise
    except Exception as error:
        return f", and the host raised {class_and_line(error)}"
    if isinstance(found.truth, (NoTruth, NumericTruth)):
        return f", and on the host {found.truth.why or 'autograd cannot follow the forward'}"
    return found


def least_memory(case: Case) -> int:
    """The bytes that the truth of a call takes at least: its inputs, their gradients and the upstream gradients in float64."""
    inputs = [value for value in case.inputs if is_differentiable(value)]
    copied = [value for value in (*inputs, *(case.grad_outputs or ())) if not is_wide(value.dtype)]
    return sum(value.numel() * _wide_bytes(value) for value in (*inputs, *copied))


def on_the_host(examined: Examined) -> Examined | None:
    """The same call with all its tensors on the host; None where a gradient is on another device than its input."""
    case, run, moved = examined.case, examined.run, _Moved()
    assert run is not None
    pairs = [*zip(case.inputs, run.returned, strict=False), *zip(case.inputs, run.delivered or (), strict=False)]
    if any(isinstance(v, torch.Tensor) and isinstance(g, torch.Tensor) and v.device != g.device for v, g in pairs):
        return None
    inputs, upstream = moved.of(case.inputs), None if case.grad_outputs is None else moved.of(case.grad_outputs)
    there = replace(case, inputs=inputs, options=moved.of(dict(case.options)), grad_outputs=upstream)
    oracle = AutogradOracle(examined.oracle.runner, there, copies=examined.oracle.copies)
    return replace(examined, case=there, oracle=oracle, run=_run(run, moved))


def _run(run: ManualRun, moved: _Moved) -> ManualRun:
    calls = tuple(
        replace(c, inputs=moved.of(c.inputs), options=moved.of(dict(c.options)), outputs=moved.of(c.outputs)) for c in run.calls
    )
    return replace(
        run,
        returned=moved.of(run.returned),
        intermediates=moved.of(dict(run.intermediates)),
        delivered=None if run.delivered is None else moved.of(run.delivered),
        calls=calls,
        outputs=moved.of(run.outputs),
    )


class _Moved:
    """Copies on the host, one of each tensor, so that those which are the same stay so."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def of(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if id(value) not in self._known:  # the tensor is kept too, so that no other can have its id
                self._known[id(value)] = (value, value.detach().cpu())
            return self._known[id(value)][1]
        if type(value) in (tuple, list):
            return type(value)(self.of(each) for each in value)
        if isinstance(value, Mapping):
            return {key: self.of(each) for key, each in value.items()}
        return value


def _device(case: Case) -> torch.device | None:
    """The device of the first input that a gradient is of."""
    return next((value.device for value in case.inputs if is_differentiable(value)), None)


def _wide_bytes(value: torch.Tensor) -> int:
    return 16 if value.is_complex() else 8


def _ran_out(found: Examined) -> bool:
    """Whether memory ran out in the user's reference, whose truth is ours to evaluate."""
    return any(f.cause == "memory-exceeded" and f.stage == "oracle" for f in found.findings)
