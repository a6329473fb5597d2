"""One subject and its call, on which edits of its backward are tried: quickly on the call as given, then by the full check."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.process_state import preserved_state
from gradcheck_lab.calls.randomness import seed_all
from gradcheck_lab.check import checked_here
from gradcheck_lab.examination.examined import AutogradTruth, Examined, ManualRun, Policy
from gradcheck_lab.examination.manual import run_manual
from gradcheck_lab.examination.oracle_choice import autograd_truth
from gradcheck_lab.model.amounts import CLOSE_TO_THE_TRUTH, SECONDS_OF_A_TRIAL
from gradcheck_lab.model.arguments import Wrt, options_of
from gradcheck_lab.model.exceptions import DeviceLost
from gradcheck_lab.model.precision import is_narrow, is_wide, wide_dtype
from gradcheck_lab.probes import ALL
from gradcheck_lab.repair.time_limit import OutOfTime, limited
from gradcheck_lab.report import Report
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects import adapt
from gradcheck_lab.subjects.contained import own_copies
from gradcheck_lab.subjects.reference import with_reference
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Key

Distances = Mapping[str, float]  # by gradient: 0 where it is right, infinite where there is none of its shape


@dataclass(frozen=True, slots=True)
class Call:
    """What `gl.check` was given beside the subject."""

    inputs: tuple[Any, ...]
    options: Mapping[str, Any] | None = None
    reference: Any = None
    grad_output: Any = None
    order: int = 1
    allow: Collection[str] = ()
    wrt: Wrt | None = None
    seed: int = 0

    def check(self, op: Any, probes: Collection[Any] = ALL, seed: int | None = None) -> Report:
        """The report of this call, without the line that reproduces a failure; `seed` stands in for the call's own."""
        return checked_here(
            op, *self.inputs, options=self.options, reference=self.reference, grad_output=self.grad_output, order=self.order,
            probes=probes, allow=self.allow, wrt=self.wrt, seed=self.seed if seed is None else seed,
        )  # fmt: skip

    def run(self, op: Any, grad_outputs: tuple[torch.Tensor, ...] | None = None) -> Examined:
        """Run forward and backward once, and compare nothing. Raises `InvalidArgument` as a check does."""
        with preserved_state(self.seed):
            keywords = {name: own_copies(value) for name, value in options_of(self.options).items()}
            subject = adapt(op, self.inputs, keywords, self.wrt)
            if self.reference is not None:
                subject = with_reference(subject, self.reference)
            given = None if self.grad_output is None else tuple(as_tuple(self.grad_output))
            case = Case(subject.inputs, keywords, grad_outputs or given, self.seed)
            seed_all(self.seed)
            return run_manual(Runner(subject), case, Policy(thorough=False, has_reference=self.reference is not None))


@dataclass(frozen=True, slots=True)
class Trial:
    """A subject, its call, and what the gradients of the call should be, by index.

    `truth` is empty where only numbers say that: then every trial is a comparison. `seconds` is what one run takes.
    """

    op: Any
    call: Call
    truth: Mapping[int, torch.Tensor]
    upstream: tuple[torch.Tensor, ...]
    seconds: float

    def distances(self) -> Distances | None:
        """How far each gradient is from the truth with the backward as it stands; None where that ends early, by whatever."""
        least, times = SECONDS_OF_A_TRIAL.value
        try:
            with limited(max(least, times * self.seconds)):
                return self._by_truth() if self.truth else self._by_comparison()
        except (OutOfTime, DeviceLost, Exception):
            return None

    def _by_truth(self) -> Distances | None:
        ran = self.call.run(self.op, self.upstream)
        if ran.run is None:
            return None
        names = ran.subject.names
        return {names[i]: _least(ran.run, i, ran.case.inputs[i], expected) for i, expected in self.truth.items()}

    def _by_comparison(self) -> Distances | None:
        report = self.call.check(self.op, ())
        if not report.gradients:
            return None
        return {each.name: 0.0 if each.verdict == "pass" else each.max_rel_error for each in report.gradients}


def trial_of(op: Any, call: Call) -> Trial:
    """The trial of a subject on a call, which runs it once. Raises `InvalidArgument` for what cannot be checked."""
    started = time.perf_counter()
    ran = call.run(op)
    with preserved_state(call.seed):
        truth = _truth(ran)
    return Trial(op, call, truth, ran.case.grad_outputs or () if truth else (), time.perf_counter() - started)


def _truth(ran: Examined) -> dict[int, torch.Tensor]:
    if ran.case.grad_outputs is None or (ran.run is None and ran.policy.has_reference):
        return {}
    found = autograd_truth(ran)
    if not isinstance(found, AutogradTruth):
        return {}
    inputs, gradients = ran.case.inputs, found.float64_pass.gradients
    expected = {i: gradients.get(Key("input", i)) for i in range(len(inputs)) if ran.is_compared(i)}
    return {i: torch.zeros_like(inputs[i]) if gradient is None else gradient.detach() for i, gradient in expected.items()}


def _least(run: ManualRun, index: int, value: torch.Tensor, expected: torch.Tensor) -> float:
    """The distance of what the backward returned, or of what torch's engine makes of it."""
    given = [run.returned, run.delivered or ()]
    return min(_distance(each[index] if index < len(each) else None, value, expected) for each in given)


def _distance(actual: Any, value: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest error of an element, relative to the element or to the root mean square, whichever is larger."""
    if actual is None and not expected.any():
        return 0.0
    if not isinstance(actual, torch.Tensor) or actual.shape != expected.shape or not is_differentiable(actual):
        return float("inf")
    if not expected.numel():
        return 0.0
    wide = expected.to(wide_dtype(expected.dtype))
    sizes = wide.abs()
    scale = torch.maximum(sizes, sizes.square().mean().sqrt()).clamp_min(torch.finfo(torch.float64).tiny)
    worst = float(((actual.detach().to(wide) - wide).abs() / scale).max())
    in_64_bits, in_32_bits, in_16_bits = CLOSE_TO_THE_TRUTH.value
    close = in_64_bits if is_wide(value.dtype) else in_16_bits if is_narrow(value.dtype) else in_32_bits
    return float("inf") if worst != worst else 0.0 if worst <= close else worst
