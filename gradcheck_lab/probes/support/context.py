"""What a probe gets: the examined case, and ways to run the user's code and the oracle on cases derived from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, copy_tensor, is_differentiable
from gradcheck_lab.calls.tensor_kinds import as_numbers
from gradcheck_lab.comparison.budget import passes
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.coverage import NO_ELEMENTS, is_compared
from gradcheck_lab.examination.examined import Examined, NumericTruth, Policy
from gradcheck_lab.examination.pipeline import examine
from gradcheck_lab.model.coverage import COMPARED
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import FORWARDS_OF_LOOKS
from gradcheck_lab.model.precision import is_narrow, wide_dtype
from gradcheck_lab.model.precision.budget import SAME_ROUNDINGS, SAME_ROUNDINGS_16_BITS
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Recording, Subject

Value = TypeVar("Value")
# why a derived call was not compared
RAISED, REFUSED, NO_ORACLE, TOO_DEAR = "raised", "refused", "without an oracle", "too dear for numbers"


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """Yielded where a probe could not compare what it was asked to: the verdict is inconclusive, for this reason."""

    reason: str


Yielded = Finding | Comparison | Inconclusive


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the hand-written side: its outputs, and one entry per input from its backward; or the exception raised.

    The gradients in `stored`, by index, were not returned but read from where the user's object stores them.
    """

    outputs: tuple[Any, ...] = ()
    gradients: tuple[Any, ...] = ()
    error: Exception | None = None
    stored: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Context:
    """An examined case, called the base case, and ways to run others like it; every evaluation of the user's code is counted.

    `order` is 2 where second derivatives have to be right as well. `once` stores what all probes of a case share.
    """

    examined: Examined
    order: int = 1
    _stored: dict[str, Any] = field(default_factory=dict)

    @property
    def runner(self) -> Runner:
        """Runs the hand-written side, which draws new random numbers on every call."""
        return self.examined.runner

    @property
    def subject(self) -> Subject:
        """The user's object behind its adapter."""
        return self.examined.runner.subject

    @property
    def oracle(self) -> AutogradOracle:
        """Autograd on the base case; its forwards get the random numbers that the first forward drew."""
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
        """What the backward returned on the base case, by input; booleans and integers as numbers."""
        return tuple(map(as_numbers, self.examined.returned))

    @property
    def has_reference(self) -> bool:
        """Whether the oracle is the user's `reference=`."""
        return self.examined.policy.has_reference

    @property
    def uses_autograd(self) -> bool:
        """Whether derived cases are compared with autograd, and not with numbers."""
        return not isinstance(self.examined.truth, NumericTruth)

    @property
    def derives(self) -> bool:
        """Whether derived calls with other sizes, values or options are compared: of what is not hand-written, they are not."""
        truth = self.examined.truth
        return not (isinstance(truth, NumericTruth) and truth.plain)

    @property
    def has_casts(self) -> bool:
        """Whether the forward casts to a narrower dtype on its way."""
        truth = self.examined.truth
        if isinstance(truth, NumericTruth):
            return bool(truth.oracle.problem.own_roundoff)
        return self.oracle.without_casts() is not None

    @property
    def wrong_inputs(self) -> frozenset[int]:
        """The inputs whose gradient is wrong on the base case."""
        return self.once("wrong inputs", self._find_wrong_inputs)

    def _find_wrong_inputs(self) -> frozenset[int]:
        failed = {c.result.name for c in self.examined.comparisons if c.result.verdict == "fail"}
        return frozenset(i for i, name in enumerate(self.subject.names) if name in failed)

    @property
    def skip_on_derived_calls(self) -> frozenset[int]:
        """The wrong inputs, which derived calls need not compare; none in a program, where another op may be wrong too."""
        return frozenset() if self.subject.is_program else self.wrong_inputs

    def label(self, index: int) -> str:
        """What messages call an input."""
        return self.subject.labels[index]

    def name(self, index: int) -> str:
        """The name of an input."""
        return self.subject.names[index]

    def once(self, name: str, compute: Callable[[], Value]) -> Value:
        """Call `compute` the first time that this name is asked for, and return that result every time."""
        if name not in self._stored:
            self._stored[name] = compute()
        found: Value = self._stored[name]
        return found

    def for_case(self, runner: Runner, case: Case) -> Context:
        """The context of another case, which shares nothing that `once` stored."""
        oracle = AutogradOracle(self.oracle.runner, case, self.oracle.copies)
        return Context(replace(self.examined, runner=runner, case=case, oracle=oracle), self.order)

    def record(self, case: Case) -> Recording | Exception:
        """Run the forward of the hand-written side on copies of a case's inputs, with its seed."""
        return self.record_on(copy_inputs(case.inputs), case)

    def record_on(self, inputs: Sequence[Any], case: Case) -> Recording | Exception:
        """Run the forward on these tensors themselves, so that sharing, strides and `requires_grad` stay as they are."""
        try:
            return self.runner.record(inputs, case)
        except Exception as error:
            self.runner.evaluations.derived[RAISED] += 1
            return error

    def backward(self, recording: Recording, grad_outputs: Sequence[torch.Tensor], seed: int = 0) -> Run:
        """Run the backward of a recorded forward on copies of the upstream gradients that have the same strides."""
        return self.backward_on(recording, tuple(copy_tensor(grad) for grad in grad_outputs), seed)

    def backward_on(self, recording: Recording, grad_outputs: Sequence[torch.Tensor], seed: int = 0) -> Run:
        """Run the backward of a recorded forward on these upstream gradients themselves."""
        try:
            manual = self.runner.backward(recording, tuple(grad_outputs), seed)
        except Exception as error:
            self.runner.evaluations.derived[RAISED] += 1
            return Run(recording.outputs, (), error)
        returned = tuple(map(as_numbers, as_tuple(manual.returned)))
        filled = any(value.numel() for value in returned if isinstance(value, torch.Tensor))
        self.runner.evaluations.derived[COMPARED if filled else NO_ELEMENTS] += 1
        return Run(recording.outputs, returned, stored=manual.stored)

    def run(self, case: Case) -> Run:
        """Run forward and backward of the hand-written side on a derived case."""
        recording = self.record(case)
        if isinstance(recording, Exception):
            return Run(error=recording)
        assert case.grad_outputs is not None
        return self.backward(recording, case.grad_outputs, case.seed)

    def against_oracle(self, case: Case, numeric: bool = False, skip: frozenset[int] = frozenset()) -> Examined | None:
        """Examine a derived case against the oracle; None where the forward or the oracle does not take it.

        Gradients of the inputs in `skip` are not compared. With `numeric` a numeric oracle decides where autograd cannot.
        """
        return examine_if_valid(self.runner, case, self.has_reference, numeric, skip, not self.uses_autograd)

    def case_with(self, **changes: Any) -> Case:
        """The base case with some of its fields replaced."""
        return replace(self.case, **changes)

    def equal(self, actual: Any, expected: Any) -> bool:
        """Whether two gradients of one input, from two runs of the same code, differ at most by the order of summation."""
        if not isinstance(actual, torch.Tensor) or not isinstance(expected, torch.Tensor):
            return type(actual) is type(expected)
        if actual.shape != expected.shape or actual.dtype != expected.dtype:
            return False
        if torch.equal(actual, expected):
            return True
        if not is_differentiable(actual):
            return False
        wide = wide_dtype(expected.dtype)
        both = torch.isnan(actual) & torch.isnan(expected)
        zero = torch.zeros((), dtype=actual.dtype, device=actual.device)
        mine, theirs = torch.where(both, zero, actual), torch.where(both, zero, expected)
        roundings = (SAME_ROUNDINGS_16_BITS if is_narrow(actual.dtype) else SAME_ROUNDINGS).value
        return passes(mine, theirs.to(wide), actual.dtype, roundings)


def examine_if_valid(
    runner: Runner,
    case: Case,
    has_reference: bool,
    numeric: bool,
    skip: frozenset[int] = frozenset(),
    by_numbers: bool = False,
    closely: bool = False,
) -> Examined | None:
    """Examine a case that a probe made; None where `examine` raises `InvalidArgument` for it.

    With `by_numbers` a numeric oracle decides whatever autograd says, and with `closely` it does so to all its digits.
    """
    subject = runner.subject
    derived = replace(runner, subject=replace(subject, constants=subject.constants | skip)) if skip else runner
    counts = runner.evaluations.derived
    try:
        found = examine(derived, case, Policy(False, not numeric, has_reference, by_numbers and not numeric, closely))
    except InvalidArgument:
        counts[REFUSED] += 1
        return None
    if any(is_compared(comparison) for comparison in found.comparisons):
        counts[COMPARED] += 1
    else:
        no_oracle = TOO_DEAR if runner.evaluations.looking > FORWARDS_OF_LOOKS.value else NO_ORACLE
        counts[NO_ELEMENTS if found.comparisons else RAISED if found.run is None else no_oracle] += 1
    return found


Probe = Callable[[Context], Iterable[Yielded]]
