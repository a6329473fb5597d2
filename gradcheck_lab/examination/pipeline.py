"""One case, examined: the manual side, the oracle, and every gradient compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, copy_tensor, is_differentiable
from gradcheck_lab.calls.randomness import seed_all
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.comparison.engine import deliverable, with_engine
from gradcheck_lab.comparison.entries import compare_returned
from gradcheck_lab.comparison.forwards import forward_mismatch
from gradcheck_lab.comparison.gradient import Comparison
from gradcheck_lab.comparison.isolated_rule import detached, run_rule
from gradcheck_lab.comparison.numerically import compare_numerically
from gradcheck_lab.comparison.program import compare_program
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.guarding import disconnected, watched
from gradcheck_lab.examination.oracle_choice import followed, numeric_oracle
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import COMPARED_FOR_WRITES
from gradcheck_lab.model.user_errors import user_traceback, wrong_count
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.oracles.autograd.replayed_draws import generator_states, replayed
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.subject import Call, Manual, Recording, Subject


class Stopped(Exception):
    """The user's code raised, or there is no oracle: the examination ends with what is known."""


@dataclass
class Examination:
    """The state of one case under examination; `comparisons` and `findings` grow as it goes.

    `thorough` looks for writes in the values and lets numbers guard autograd; a `derived` case is one that a probe made of the
    user's, which numeric oracles are too dear for.
    """

    subject: Subject
    case: Case
    evaluations: dict[str, int]
    oracle: AutogradOracle = field(init=False)
    plain: Subject = field(init=False)  # as it was given, which draws its own random numbers on every call
    comparisons: list[Comparison] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    recording: Recording | None = None
    thorough: bool = True
    order: int = 1
    several: bool = False
    handed_out: tuple[Any, ...] = ()
    outputs: tuple[Any, ...] = ()
    engine: tuple[Any, ...] | None = None
    has_reference: bool = False
    derived: bool = False
    returned: tuple[Any, ...] = ()
    unfollowed: str = ""
    oracle_name: str = ""
    refused: str = ""

    def run(self) -> None:
        """Run both sides and compare everything; what the user's code raises becomes a finding."""
        try:
            self._prepare()
            manual = self._manual()
            self.returned = as_tuple(manual.returned)
            if len(self.returned) != len(self.case.inputs):
                self.findings.append(wrong_count(len(self.returned), len(self.case.inputs), None))
                return
            truth = followed(self) if not self.has_reference else self._reference()
        except Stopped:
            return
        if truth is not None:
            before = len(self.findings)
            self._compare(manual, truth)
            failed = any(c.result.verdict == "fail" for c in self.comparisons)
            if self.has_reference or self.derived or not (self.thorough or failed) or watched(self, manual, truth):
                return
            self.comparisons, self.findings = [], self.findings[:before]
        differentiated = self.subject.kind in ("program", "function", "module") and self.subject.user is None
        if differentiated and all(gradient is None for gradient in self.returned):
            finding = None if self.derived else disconnected(self)
            self.findings += [finding] if finding is not None else []
            return  # there is no path from any input to the output: nothing to compare
        oracle = None if self.derived else numeric_oracle(self)
        if oracle is not None:
            entries = {i: g for i, g in enumerate(self.returned) if self._compared(i)}
            self._take(compare_numerically(self.subject, self.case.inputs, entries, oracle))

    def _compared(self, index: int) -> bool:
        return is_differentiable(self.case.inputs[index]) and index not in self.subject.constants

    def _compare(self, manual: Manual, truth: Pass) -> None:
        if self.subject.kind == "program":
            compare_program(self, manual, truth)
        else:
            self._compare_inputs(manual, truth)

    def _take(self, compared: list[Comparison]) -> None:
        self.comparisons += compared
        self.findings += [finding for comparison in compared for finding in comparison.findings]

    def _prepare(self) -> None:
        given, self.plain = self.case.inputs, self.subject
        self.case = replace(self.case, inputs=tuple(v.detach() if isinstance(v, torch.Tensor) else v for v in given))
        seed_all(self.case.seed)
        self.evaluations["forward"] += 1
        inputs = copy_inputs(given)
        states = generator_states()
        self.recording = self._guard(
            lambda: self.subject.record(inputs, self.case.options), "forward", "look at the forward's traceback below"
        )
        if not all(torch.equal(a, b) for a, b in zip(states, generator_states(), strict=False)):
            self.evaluations["forward"] += 1
            self.subject = replayed(self.subject, self.case)
        self.several, self.findings = self.recording.several, [*self.findings, *self.recording.findings]
        if self.has_reference:
            self.outputs = detached(self.recording.outputs)
        if self.recording.kind is not None:
            self.subject = replace(self.subject, kind=self.recording.kind)
            self.plain = replace(self.plain, kind=self.recording.kind)
        for index, output in enumerate(self.recording.outputs):
            if not isinstance(output, torch.Tensor):
                raise InvalidArgument(
                    f"the forward of {self.subject.name} returned a {type(output).__name__} as output {index}; "
                    "return a tensor or a tuple of tensors"
                )
        self.case = replace(self.case, grad_outputs=self._grad_outputs(self.recording))
        self.oracle = AutogradOracle(self.subject, self.case, self.evaluations)
        self.handed_out = inputs

    def _grad_outputs(self, recording: Recording) -> tuple[torch.Tensor, ...]:
        given, outputs = self.case.grad_outputs, recording.outputs
        if recording.fixed_grad_outputs is not None:
            if given is not None and not self.derived:
                raise InvalidArgument(
                    f"the backward of {self.subject.name} takes no upstream gradient; leave grad_output out: "
                    "it is checked with ones"
                )
            return recording.fixed_grad_outputs
        if given is None:
            generator = torch.Generator().manual_seed(self.case.seed)
            carries = [is_differentiable(o) and (recording.engine is None or o.requires_grad) for o in outputs]
            return tuple(random_like(o, generator) if c else torch.zeros_like(o) for o, c in zip(outputs, carries, strict=True))
        if len(given) != len(outputs):
            raise InvalidArgument(
                f"{len(given)} grad_outputs were given and {self.subject.name} has {len(outputs)} outputs; "
                "pass one per output, as a tuple"
            )
        for index, (grad, output) in enumerate(zip(given, outputs, strict=True)):
            if not isinstance(grad, torch.Tensor):
                raise InvalidArgument(f"grad_output {index} is a {type(grad).__name__}; pass a tensor of the output's shape")
            if tuple(grad.shape) != tuple(output.shape):
                raise InvalidArgument(
                    f"grad_output {index} has shape {tuple(grad.shape)} and output {index} of {self.subject.name} has "
                    f"{tuple(output.shape)}; pass one of the output's shape"
                )
        return tuple(copy_tensor(grad).to(output) for grad, output in zip(given, outputs, strict=True))

    def _manual(self) -> Manual:
        assert self.recording is not None
        assert self.case.grad_outputs is not None
        upstream = tuple(copy_tensor(grad) for grad in self.case.grad_outputs)
        walk, deliver = self.recording.backward, self.recording.engine
        if self.subject.kind != "program":
            self.recording = None  # what it saved is as large as all else: let it go with the backward
        seed_all(self.case.seed)
        self.evaluations["backward"] += 1
        manual: Manual = self._guard(partial(walk, upstream), "backward", "look at the backward's traceback below")
        if deliver is not None:
            self.engine = self._delivered(partial(deliver, upstream))
        del walk, deliver
        self._check_untouched(upstream)
        return manual

    def _delivered(self, deliver: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...] | None:
        try:
            return deliver()
        except Exception as error:  # what is wrong with the raw entries is mostly seen by comparing them; else this says it
            self.refused = str(error).strip().splitlines()[0]
            return None

    def _check_untouched(self, upstream: Sequence[torch.Tensor]) -> None:
        assert self.case.grad_outputs is not None
        watched = [
            *(("mutates-input", n, a, b)
              for n, a, b in zip(self.subject.labels, self.handed_out, self.case.inputs, strict=True)),
            *(("mutates-grad-output", "grad_output" if len(upstream) == 1 else f"grad_output {i}", a, b)
              for i, (a, b) in enumerate(zip(upstream, self.case.grad_outputs, strict=True))),
        ]  # fmt: skip
        for cause, what, after, before in watched:
            if isinstance(after, torch.Tensor) and self._written(after, before):
                self.findings.append(
                    Finding(
                        cause,
                        "error",
                        f"{what} was written to",
                        explanation="its values changed during the call, so whoever else holds it reads wrong numbers",
                        suggestion="write to a new tensor, or to a clone",
                    )
                )
                self.oracle.copies = True
        self.handed_out = ()

    def _written(self, after: torch.Tensor, before: torch.Tensor) -> bool:
        # a write through torch raises the version; one past torch shows in the values, a pass over memory to compare
        if self.thorough or after.numel() <= COMPARED_FOR_WRITES.value:
            return not _same(after, before)
        return after._version > 0

    def _reference(self) -> Pass:
        truth: Pass = self._guard(self.oracle.truth, "reference", "pass a reference that takes the same inputs")
        if not truth.tracked:
            raise InvalidArgument(
                f"the reference of {self.subject.name} does not depend on any input through torch functions; "
                "pass the same function written in torch"
            )
        problem = forward_mismatch(self.outputs, truth, self.oracle)
        if problem is not None:
            self.findings.append(problem)
            raise Stopped
        return truth

    def _guard(self, call: Callable[[], Any], what: str, suggestion: str) -> Any:
        try:
            return call()
        except InvalidArgument:
            raise
        except Exception as error:
            first = str(error).strip().splitlines()
            self.findings.append(
                Finding(
                    "raises",
                    "error",
                    f"{what} raised {type(error).__name__}",
                    explanation=first[0] if first else type(error).__name__,
                    suggestion=suggestion,
                    traceback=user_traceback(error),
                )
            )
            raise Stopped from error

    def _compare_inputs(self, manual: Manual, truth: Pass) -> None:
        outputs = self._outputs(truth)
        compared = compare_returned(self.subject, manual.returned, self.oracle, truth, outputs)
        if deliverable(self.engine):
            compared = with_engine(compared, compare_returned(self.subject, self.engine, self.oracle, truth, outputs))
        self._take(compared)
        if self.refused and not any(finding.severity == "error" for finding in self.findings):
            self.findings.append(
                Finding(
                    "raises",
                    "error",
                    "torch's engine refused what backward returned",
                    explanation=self.refused,
                    suggestion="return what the engine expects: one gradient per tensor, None for every other argument",
                )
            )
        if any(torch.finfo(v.dtype).bits < 64 for v in self.case.inputs if is_differentiable(v)):
            self._compare_in_float64(truth, {finding.gradient for c in compared for finding in c.findings})

    def _compare_in_float64(self, truth: Pass, known: set[str | None]) -> None:
        """Run the rule once more on the oracle's float64 values, where rounding hides nothing."""
        op = self.subject.op
        if op is None:
            return
        case = replace(self.case, inputs=detached(truth.inputs), grad_outputs=truth.upstream)
        oracle = AutogradOracle(self.subject, case, self.evaluations)
        oracle.assume(truth)
        call = Call(op, case.inputs, case.options, detached(truth.outputs), self.several)
        try:
            self.evaluations["backward"] += 1
            returned = run_rule(call, case.grad_outputs or ())
        except Exception:  # the rule's kernels take narrow dtypes only: this lane has nothing to say
            return
        if len(as_tuple(returned)) != len(case.inputs):
            return
        compared = compare_returned(self.subject, returned, oracle, truth, self._outputs(truth))
        findings = [finding for c in compared for finding in c.findings if finding.severity == "error"]
        narrow = any(torch.finfo(v.dtype).bits == 16 for v in self.case.inputs if is_differentiable(v))
        # float32 inside is all that 16-bit inputs ask for
        designed = {"wrong-dtype", "low-precision"} if narrow else {"wrong-dtype"}
        fresh = [finding for finding in findings if finding.gradient not in known and finding.cause not in designed]
        self.findings += [replace(f, message=f"{f.message}, in float64", case="in float64") for f in fresh]
        wrong = {finding.gradient for finding in fresh}
        self.comparisons = [
            replace(c, result=replace(c.result, verdict="fail")) if c.result.name in wrong else c for c in self.comparisons
        ]

    def _outputs(self, truth: Pass) -> Mapping[str, torch.Tensor]:
        found = [o for o in truth.outputs if isinstance(o, torch.Tensor)]
        return {"output" if len(found) == 1 else f"output {i}": o.detach() for i, o in enumerate(found)}


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    if torch.equal(a, b):
        return True
    if not is_differentiable(a) or not bool(torch.isnan(a).any()):
        return False
    return bool(((a == b) | (torch.isnan(a) & torch.isnan(b))).all())
