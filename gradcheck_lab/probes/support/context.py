"""What a probe works with: the examined case, and the means to run the user's code and the oracle on others derived from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, copy_tensor, is_differentiable
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.comparison.gradient import Comparison
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.examined import Examined, NumericTruth, Policy
from gradcheck_lab.examination.pipeline import examine
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import is_narrow, wide_dtype
from gradcheck_lab.model.precision.budget import SAME_ROUNDINGS, SAME_ROUNDINGS_16_BITS
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Recording, Subject

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class LeftOpen:
    """What a probe yields where it could not compare what it was asked to: the verdict is open for this reason."""

    reason: str


Yielded = Finding | Comparison | LeftOpen


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the hand-written side: its outputs and the entries that its backward returned; or what it raised."""

    outputs: tuple[Any, ...] = ()
    gradients: tuple[Any, ...] = ()
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """An examined case and ways to vary it; every evaluation of the user's code is counted.

    `order` is that of the derivatives that have to be right. What is costly and the same for all probes of a case is kept by
    `once`.
    """

    examined: Examined
    order: int = 1
    _kept: dict[str, Any] = field(default_factory=dict)

    @property
    def runner(self) -> Runner:
        """Runs the hand-written side, which draws its own random numbers on every call."""
        return self.examined.runner

    @property
    def subject(self) -> Subject:
        """The user's object behind its adapter."""
        return self.examined.runner.subject

    @property
    def oracle(self) -> AutogradOracle:
        """Autograd on the base case; its forwards draw the numbers that the first one drew."""
        return self.examined.oracle

    @property
    def case(self) -> Case:
        """The base case, with its upstream gradients."""
        return self.examined.case

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the comparison found on the base case."""
        return self.examined.findings

    @property
    def gradients(self) -> tuple[Any, ...]:
        """What the backward returned on the base case, by input."""
        return self.examined.returned

    @property
    def has_reference(self) -> bool:
        """Whether the oracle is the user's `reference=`."""
        return self.examined.policy.has_reference

    @property
    def analytic(self) -> bool:
        """Whether derived cases can be held against autograd; numeric oracles are too dear to repeat."""
        return not isinstance(self.examined.truth, NumericTruth)

    @property
    def wrong(self) -> frozenset[int]:
        """The inputs whose gradient was already wrong on the base case."""
        return self.once("wrong", self._wrong)

    def _wrong(self) -> frozenset[int]:
        failed = {c.result.name for c in self.examined.comparisons if c.result.verdict == "fail"}
        return frozenset(i for i, name in enumerate(self.subject.names) if name in failed)

    @property
    def settled(self) -> frozenset[int]:
        """The inputs that derived calls need not judge; in a program an op that is wrong elsewhere may show through them."""
        return frozenset() if self.subject.is_program else self.wrong

    def label(self, index: int) -> str:
        """How messages call an input."""
        return self.subject.labels[index]

    def name(self, index: int) -> str:
        """The name of an input."""
        return self.subject.names[index]

    def once(self, name: str, compute: Callable[[], Kept]) -> Kept:
        """What `compute` gave when it was first asked for by this name; the probes of one case share it."""
        if name not in self._kept:
            self._kept[name] = compute()
        found: Kept = self._kept[name]
        return found

    def on(self, runner: Runner, case: Case) -> Context:
        """The context of another case, which keeps nothing of this one's."""
        return Context(replace(self.examined, runner=runner, case=case), self.order)

    def record(self, case: Case) -> Recording | Exception:
        """Run the forward of the hand-written side on copies of a case's inputs, seeded alike."""
        return self.record_given(copy_inputs(case.inputs), case)

    def record_given(self, inputs: Sequence[Any], case: Case) -> Recording | Exception:
        """Run the forward on these very tensors: what is shared, strided or marked as requiring grad stays so."""
        try:
            return self.runner.record(inputs, case)
        except Exception as error:
            return error

    def backward(self, recording: Recording, grad_outputs: Sequence[torch.Tensor], seed: int = 0) -> Run:
        """Run the backward of a recorded forward on copies of the upstream gradients, with their strides."""
        try:
            manual = self.runner.backward(recording, tuple(copy_tensor(grad) for grad in grad_outputs), seed)
        except Exception as error:
            return Run(recording.outputs, (), error)
        returned = as_tuple(manual.returned)
        return Run(recording.outputs, tuple(g.detach() if isinstance(g, torch.Tensor) else g for g in returned))

    def run(self, case: Case) -> Run:
        """Forward and backward of the hand-written side on a derived case."""
        recording = self.record(case)
        if isinstance(recording, Exception):
            return Run(error=recording)
        assert case.grad_outputs is not None
        return self.backward(recording, case.grad_outputs, case.seed)

    def against_oracle(self, case: Case, numeric: bool = False, skip: frozenset[int] = frozenset()) -> Examined | None:
        """Examine a derived case against the oracle; None where the forward or the oracle does not take it.

        Inputs in `skip` are not judged; with `numeric` numbers decide where autograd cannot.
        """
        return examine_derived(self.runner, case, self.has_reference, numeric, skip)

    def vary(self, **changes: Any) -> Case:
        """The base case with some of its fields replaced."""
        return replace(self.case, **changes)

    def equal(self, actual: Any, expected: Any) -> bool:
        """Whether two gradients of one input, from two runs of the same code, are equal up to the order of sums."""
        if not isinstance(actual, torch.Tensor) or not isinstance(expected, torch.Tensor):
            return type(actual) is type(expected)
        if actual.shape != expected.shape or not is_differentiable(actual):
            return False
        if torch.equal(actual, expected):
            return True
        wide = wide_dtype(expected.dtype)
        both = torch.isnan(actual) & torch.isnan(expected)
        zero = torch.zeros((), dtype=actual.dtype, device=actual.device)
        mine, theirs = torch.where(both, zero, actual), torch.where(both, zero, expected)
        roundings = (SAME_ROUNDINGS_16_BITS if is_narrow(actual.dtype) else SAME_ROUNDINGS).value
        return judge(mine, theirs.to(wide), actual.dtype, roundings=roundings).passed


def examine_derived(
    runner: Runner, case: Case, has_reference: bool, numeric: bool, skip: frozenset[int] = frozenset()
) -> Examined | None:
    """Examine a case that nobody called; None where it cannot mean anything."""
    subject = runner.subject
    derived = replace(runner, subject=replace(subject, constants=subject.constants | skip)) if skip else runner
    try:
        return examine(derived, case, Policy(thorough=False, derived=not numeric, has_reference=has_reference))
    except InvalidArgument:
        return None


Probe = Callable[[Context], Iterable[Yielded]]
