"""What a probe works with: the examined case, and the means to run the user's code and the oracle on others derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, copy_tensor, is_differentiable
from gradcheck_lab.calls.randomness import seed_all
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.precision.budget import SAME_ROUNDINGS, SAME_ROUNDINGS_16_BITS
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.subject import Recording

if TYPE_CHECKING:
    from gradcheck_lab.examination.pipeline import Examination


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the hand-written side: its outputs and the entries that its backward returned; or what it raised."""

    outputs: tuple[Any, ...] = ()
    gradients: tuple[Any, ...] = ()
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """The base examination and ways to vary it; every evaluation of the user's code is counted."""

    base: Examination

    @property
    def case(self) -> Case:
        """The base case, with its upstream gradients."""
        return self.base.case

    @property
    def gradients(self) -> tuple[Any, ...]:
        """What the backward returned on the base case, by input."""
        return self.base.returned

    @property
    def analytic(self) -> bool:
        """Whether derived cases can be held against autograd; numeric oracles are too dear to repeat."""
        return not self.base.oracle_name

    @property
    def wrong(self) -> frozenset[int]:
        """The inputs whose gradient was already wrong on the base case."""
        names = self.base.subject.names
        failed = {c.result.name for c in self.base.comparisons if c.result.verdict == "fail"}
        return frozenset(i for i, name in enumerate(names) if name in failed)

    @property
    def settled(self) -> frozenset[int]:
        """The inputs that derived calls need not judge; in a program an op that is wrong elsewhere may show through them."""
        return frozenset() if self.base.subject.kind == "program" else self.wrong

    def label(self, index: int) -> str:
        """How messages call an input."""
        return self.base.subject.labels[index]

    def name(self, index: int) -> str:
        """The name of an input."""
        return self.base.subject.names[index]

    def record(self, case: Case) -> Recording | Exception:
        """Run the forward of the hand-written side on copies of a case's inputs, seeded alike."""
        seed_all(case.seed)
        self.base.evaluations["forward"] += 1
        try:
            return self.base.subject.record(copy_inputs(case.inputs), case.options)
        except Exception as error:
            return error

    def backward(self, recording: Recording, grad_outputs: Sequence[torch.Tensor], seed: int = 0) -> Run:
        """Run the backward of a recorded forward on copies of the upstream gradients, with their strides."""
        seed_all(seed)
        self.base.evaluations["backward"] += 1
        try:
            manual = recording.backward(tuple(copy_tensor(grad) for grad in grad_outputs))
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

    def examine(self, case: Case, numeric: bool = False, skip: frozenset[int] = frozenset()) -> Examination | None:
        """Examine a derived case against the oracle; None where the forward or the oracle does not take it."""
        from gradcheck_lab.examination.pipeline import Examination

        subject = replace(self.base.plain, constants=self.base.subject.constants | skip)
        found = Examination(
            subject,
            case,
            self.base.evaluations,
            thorough=False,
            has_reference=self.base.has_reference,
            derived=not numeric,
        )
        try:
            found.run()
        except InvalidArgument:
            return None
        return found

    def vary(self, **changes: Any) -> Case:
        """The base case with some of its fields replaced."""
        return replace(self.case, **changes)

    def same(self, index: int, actual: Any, expected: Any) -> bool:
        """Whether two gradients of one input, from two runs of the same code, are equal up to the order of sums."""
        if not isinstance(actual, torch.Tensor) or not isinstance(expected, torch.Tensor):
            return type(actual) is type(expected)
        if actual.shape != expected.shape or not is_differentiable(actual):
            return False
        wide = torch.complex128 if expected.is_complex() else torch.float64
        both = torch.isnan(actual) & torch.isnan(expected)
        zero = torch.zeros((), dtype=actual.dtype, device=actual.device)
        mine, theirs = torch.where(both, zero, actual), torch.where(both, zero, expected)
        roundings = (SAME_ROUNDINGS if torch.finfo(actual.dtype).bits > 16 else SAME_ROUNDINGS_16_BITS).value
        return judge(mine, theirs.to(wide), actual.dtype, roundings=roundings).passed
