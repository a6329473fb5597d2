"""The data of an examination: its policy, the hand-written run, the oracle, and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.engine.links import Link
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Call, Key, Subject


@dataclass(frozen=True, slots=True)
class Policy:
    """How a case is examined.

    `thorough` compares values to find writes, and checks autograd by a numeric derivative. A `derived` case is one that a probe
    made: there numbers look along one direction before they look at elements. With `by_numbers` they decide whatever autograd
    says, as they did on the call that it was derived from, and `closely` as on that call: to all the digits that they have.
    With `has_reference` the oracle is the user's reference, which is not checked.
    """

    thorough: bool = True
    derived: bool = False
    has_reference: bool = False
    by_numbers: bool = False
    closely: bool = False


@dataclass(frozen=True, slots=True)
class ManualRun:
    """One run of the hand-written side.

    `returned` has one entry per input, as the backward returned it; with `several` it returned a tuple. `intermediates` are the
    gradients within a program, `calls` its ops' calls. `delivered` are the gradients that torch's engine makes of the same
    backward, None where it does not call it; `refusal` says why it did not accept what was returned. `outputs` are there
    only where they are compared: with those of a reference, or in a large call with those of its pieces. A backward that
    does not take an upstream gradient is checked with ones; `upstream_dtypes` are those of the outputs. `links()` says what
    each step of a program is made of.
    """

    returned: tuple[Any, ...]
    several: bool
    intermediates: Mapping[Key, torch.Tensor | None] = field(default_factory=dict)
    delivered: tuple[Any, ...] | None = None
    refusal: Finding | None = None
    calls: tuple[Call, ...] = ()
    outputs: tuple[Any, ...] = ()
    takes_upstream: bool = True
    upstream_dtypes: frozenset[torch.dtype] = frozenset()
    links: Callable[[], tuple[Link, ...]] = tuple


@dataclass(frozen=True, slots=True)
class AutogradTruth:
    """Autograd is the oracle, on the reference or on the subject's own forward; `float64_pass` is its pass in float64."""

    oracle: AutogradOracle
    float64_pass: Pass
    name: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class PiecewiseTruth:
    """Autograd was the oracle on pieces of a large call, all of which passed.

    `piece` is the first, examined as a call of its own, from which probes derive theirs, for the sake of memory.
    """

    name: str
    piece: Examined
    why: str = ""


@dataclass(frozen=True, slots=True)
class NumericTruth:
    """A numeric oracle; `why` says why autograd is not used. `plain` subjects have nothing hand-written."""

    oracle: NumericOracle
    name: str
    why: str
    plain: bool = False


@dataclass(frozen=True, slots=True)
class NoTruth:
    """There is no oracle, or none yet; `why` says why autograd is not used, `note` what a user should know of that.

    `plain` subjects have nothing hand-written.
    """

    why: str = ""
    name: str = ""
    note: Finding | None = None
    plain: bool = False


Truth = AutogradTruth | PiecewiseTruth | NumericTruth | NoTruth


@dataclass(frozen=True, slots=True)
class Examined:
    """The result of examining one case: what ran, the oracle, the comparisons and the findings.

    `run` is None where the user's code raised before there was anything to compare. `oracle` runs autograd on this case,
    whatever `truth` is. `reasons` say why the verdict is inconclusive. `alone` are the comparisons of a program's ops by
    themselves, of which the report has the findings.
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
    alone: tuple[Comparison, ...] = ()

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

    def right_in(self, mended: Examined) -> frozenset[str]:
        """The gradients that are wrong here, and right in another examination of the same call, with something changed."""
        wrong, right = (
            {c.result.name for c in each.comparisons if c.result.op is None and c.result.verdict == verdict}
            for each, verdict in ((self, "fail"), (mended, "pass"))
        )
        return frozenset(wrong & right)

    def is_compared(self, index: int) -> bool:
        """Whether the gradient of an input is one that the backward has to give."""
        return is_differentiable(self.case.inputs[index]) and index not in self.subject.constants

    def with_comparisons(self, comparisons: Sequence[Comparison], findings: Sequence[Finding] = ()) -> Examined:
        """Return a copy with further comparisons, their findings, and other findings."""
        of_comparisons = [finding for comparison in comparisons for finding in comparison.findings]
        return replace(
            self,
            comparisons=(*self.comparisons, *comparisons),
            findings=(*self.findings, *of_comparisons, *findings),
        )

    def with_excuses(self) -> Examined:
        """Return a copy whose derived calls excuse what was excused here, and nothing else."""
        allowed = self.subject.allowed
        if not allowed.causes:
            return self
        excused = {(c.result.op, c.result.name): c.excuse for c in (*self.comparisons, *self.alone) if c.excuse is not None}
        subject = replace(self.subject, allowed=replace(allowed, excused=excused))
        return replace(self, runner=replace(self.runner, subject=subject))

    def with_findings(self, *findings: Finding) -> Examined:
        """Return a copy with further findings."""
        if not findings:
            return self
        return replace(self, findings=(*self.findings, *findings))

    def inconclusive_because(self, reason: str) -> Examined:
        """Return a copy whose verdict is inconclusive, for one more reason."""
        return replace(self, reasons=(*self.reasons, reason))
