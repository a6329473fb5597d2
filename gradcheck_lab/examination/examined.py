"""What an examination is made of, and what it returns: frozen data that are passed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.comparison.gradient import Comparison
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Call, Key, Subject


@dataclass(frozen=True, slots=True)
class Policy:
    """How a case is examined.

    `thorough` looks for writes in the values and lets numbers guard autograd. A `derived` case is one that a probe made of
    the user's, for which numeric oracles are too dear. With `has_reference` the oracle is the user's, which nothing guards.
    """

    thorough: bool = True
    derived: bool = False
    has_reference: bool = False


@dataclass(frozen=True, slots=True)
class ManualRun:
    """One run of the hand-written side.

    `returned` has one raw entry per input, `intermediates` the gradients within a program, `delivered` what torch's engine
    made of the same backward, None where it does not call it, and `refusal` why it would not take what the backward returned.
    `calls` are a program's. `outputs` are kept where they are compared with those of a reference.
    """

    returned: tuple[Any, ...]
    several: bool
    intermediates: Mapping[Key, torch.Tensor | None] = field(default_factory=dict)
    delivered: tuple[Any, ...] | None = None
    refusal: Finding | None = None
    calls: tuple[Call, ...] = ()
    outputs: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class AutogradTruth:
    """Autograd on the subject's own forward, or on the reference, decides; `first` is its float64 pass."""

    oracle: AutogradOracle
    first: Pass
    name: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class NumericTruth:
    """Numbers decide; `why` says what keeps autograd from it."""

    oracle: NumericOracle
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class NoTruth:
    """Nothing decides, yet or at all; `why` says what keeps autograd from it."""

    why: str = ""
    name: str = ""


Truth = AutogradTruth | NumericTruth | NoTruth


@dataclass(frozen=True, slots=True)
class Examined:
    """One case, examined: what ran, which oracle decided, what was compared and found.

    `run` is None where the user's code raised before there was anything to compare. `oracle` makes and keeps the autograd
    passes of this case, whichever oracle decides. `reasons` say why the verdict is open.
    """

    runner: Runner
    case: Case
    policy: Policy
    oracle: AutogradOracle
    run: ManualRun | None = None
    truth: Truth = NoTruth()
    comparisons: tuple[Comparison, ...] = ()
    findings: tuple[Finding, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def subject(self) -> Subject:
        """The user's object behind its adapter."""
        return self.runner.subject

    @property
    def returned(self) -> tuple[Any, ...]:
        """What the backward returned, one entry per input; nothing where it did not run."""
        return () if self.run is None else self.run.returned

    @property
    def passed(self) -> bool:
        """Whether every gradient that was compared passed."""
        return all(comparison.result.verdict == "pass" for comparison in self.comparisons)

    def is_compared(self, index: int) -> bool:
        """Whether the gradient of an input is one that the backward has to give."""
        return is_differentiable(self.case.inputs[index]) and index not in self.subject.constants

    def compared(self, comparisons: Sequence[Comparison], findings: Sequence[Finding] = ()) -> Examined:
        """The same with further comparisons, their findings, and others."""
        of_comparisons = [finding for comparison in comparisons for finding in comparison.findings]
        return replace(
            self,
            comparisons=(*self.comparisons, *comparisons),
            findings=(*self.findings, *of_comparisons, *findings),
        )

    def found(self, *findings: Finding) -> Examined:
        """The same with further findings."""
        if not findings:
            return self
        return replace(self, findings=(*self.findings, *findings))

    def left_open(self, reason: str) -> Examined:
        """The same with one more reason why the verdict is open."""
        return replace(self, reasons=(*self.reasons, reason))
