"""One case, examined: the manual side, the oracle, every gradient compared, each op of a program in isolation."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from gradcheck_lab.adapters.op import adapt_op
from gradcheck_lab.case import Case, copy_inputs, copy_tensor, is_differentiable, random_like, seed_all
from gradcheck_lab.comparison import Comparison, Slot, compare_gradient
from gradcheck_lab.diagnosis import Evidence
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.op import as_tuple
from gradcheck_lab.oracles.autograd import AutogradOracle, Pass
from gradcheck_lab.oracles.subgradient import Subgradients
from gradcheck_lab.report import Finding
from gradcheck_lab.subject import Call, Key, Manual, Recording, Subject

_ENGINE = tuple(str(Path(__file__).parent / name) for name in ("examine.py", "adapters", "oracles", "op.py", "variable.py"))


class Stopped(Exception):
    """The user's code raised, or there is no oracle: the examination ends with what is known."""


@dataclass
class Examination:
    """The state of one case under examination; `comparisons` and `findings` grow as it goes."""

    subject: Subject
    case: Case
    evaluations: dict[str, int]
    oracle: AutogradOracle = field(init=False)
    comparisons: list[Comparison] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    recording: Recording | None = None

    def run(self) -> None:
        """Run both sides and compare everything; what the user's code raises becomes a finding."""
        try:
            self._prepare()
            manual = self._manual()
            truth = self._truth()
        except Stopped:
            return
        if self.subject.kind == "program":
            from gradcheck_lab.localise import compare_program

            compare_program(self, manual, truth)
        else:
            self._compare_inputs(manual, truth)

    def _prepare(self) -> None:
        self.case = replace(self.case, inputs=copy_inputs(self.case.inputs))
        seed_all(self.case.seed)
        self.evaluations["forward"] += 1
        pristine = self.case.inputs
        inputs = copy_inputs(pristine)
        self.recording = self._guard(
            lambda: self.subject.record(inputs, self.case.options), "forward", "look at the forward's traceback below"
        )
        for index, output in enumerate(self.recording.outputs):
            if not isinstance(output, torch.Tensor):
                raise InvalidArgument(
                    f"the forward of {self.subject.name} returned a {type(output).__name__} as output {index}; "
                    "return a tensor or a tuple of tensors"
                )
        self.case = replace(self.case, grad_outputs=self._grad_outputs(self.recording))
        self.oracle = AutogradOracle(self.subject, self.case, self.evaluations)
        self._used = inputs

    def _grad_outputs(self, recording: Recording) -> tuple[torch.Tensor, ...]:
        given, outputs = self.case.grad_outputs, recording.outputs
        if given is None:
            generator = torch.Generator().manual_seed(self.case.seed)
            return tuple(random_like(o, generator) if is_differentiable(o) else torch.zeros_like(o) for o in outputs)
        if len(given) != len(outputs):
            raise InvalidArgument(
                f"{len(given)} grad_outputs were given and {self.subject.name} has {len(outputs)} outputs; "
                "pass one per output, as a tuple"
            )
        for index, (grad, output) in enumerate(zip(given, outputs, strict=True)):
            if tuple(grad.shape) != tuple(output.shape):
                raise InvalidArgument(
                    f"grad_output {index} has shape {tuple(grad.shape)} and output {index} of {self.subject.name} has "
                    f"{tuple(output.shape)}; pass one of the output's shape"
                )
        return tuple(copy_tensor(grad).to(output) for grad, output in zip(given, outputs, strict=True))

    def _manual(self) -> Manual:
        assert self.recording is not None
        assert self.case.grad_outputs is not None
        recording = self.recording
        upstream = tuple(copy_tensor(grad) for grad in self.case.grad_outputs)
        seed_all(self.case.seed)
        self.evaluations["backward"] += 1
        manual: Manual = self._guard(lambda: recording.backward(upstream), "backward", "look at the backward's traceback below")
        self._check_untouched(upstream)
        return manual

    def _check_untouched(self, upstream: Sequence[torch.Tensor]) -> None:
        names = self.subject.names(len(self.case.inputs))
        assert self.case.grad_outputs is not None
        watched = [
            *(("mutates-input", f"input {i} {n!r}", a, b)
              for i, (n, a, b) in enumerate(zip(names, self._used, self.case.inputs, strict=True))),
            *(("mutates-grad-output", "grad_output" if len(upstream) == 1 else f"grad_output {i}", a, b)
              for i, (a, b) in enumerate(zip(upstream, self.case.grad_outputs, strict=True))),
        ]  # fmt: skip
        for cause, what, after, before in watched:
            if isinstance(after, torch.Tensor) and not _same(after, before):
                self.findings.append(
                    Finding(
                        cause,
                        "error",
                        f"{what} was written to",
                        explanation="its values changed during the call, so whoever else holds it reads wrong numbers",
                        suggestion="write to a new tensor, or to a clone",
                    )
                )

    def _truth(self) -> Pass:
        truth: Pass = self._guard(
            self.oracle.truth, "forward under autograd", "write the forward so that autograd can follow it"
        )
        assert self.recording is not None
        if not truth.tracked:
            self.reasons.append(
                f"autograd cannot follow the forward of {self.subject.name}: no output depends on a differentiable input "
                "through torch functions; pass reference=, the same function in torch"
            )
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
                    traceback=_user_traceback(error),
                )
            )
            raise Stopped from error

    def _compare_inputs(self, manual: Manual, truth: Pass) -> None:
        names = self.subject.names(len(self.case.inputs))
        compared, findings = compare_returned(names, manual.returned, self.oracle, truth, self._outputs())
        self.comparisons += compared
        self.findings += findings + [finding for c in compared for finding in c.findings]
        if compared and any(torch.finfo(c.dtype).bits < 64 for c in self.case.inputs if is_differentiable(c)):
            self._compare_in_float64(truth, {finding.gradient for c in compared for finding in c.findings})

    def _compare_in_float64(self, truth: Pass, known: set[str | None]) -> None:
        """Run the rule once more on the oracle's float64 values, where rounding hides nothing."""
        op = self.subject.op
        if op is None:
            return
        case = replace(self.case, inputs=_widened(self.case.inputs), grad_outputs=_widened(self.case.grad_outputs or ()))
        oracle = AutogradOracle(self.subject, case, self.evaluations)
        oracle.assume(truth)
        outputs = tuple(o.detach() if isinstance(o, torch.Tensor) else o for o in truth.outputs)
        assert self.recording is not None
        call = Call(op, case.inputs, case.options, outputs, self.recording.several)
        try:
            self.evaluations["backward"] += 1
            returned = run_rule(call, case.grad_outputs or ())
        except Exception:  # the rule's kernels take narrow dtypes only: this lane has nothing to say
            return
        names = self.subject.names(len(case.inputs))
        compared, findings = compare_returned(names, returned, oracle, truth, self._outputs())
        findings += [finding for c in compared for finding in c.findings if finding.severity == "error"]
        fresh = [finding for finding in findings if finding.gradient not in known]
        self.findings += [replace(f, message=f"{f.message}, in float64", case="in float64") for f in fresh]
        wrong = {finding.gradient for finding in fresh}
        self.comparisons = [
            replace(c, result=replace(c.result, verdict="fail")) if c.result.name in wrong else c for c in self.comparisons
        ]

    def _outputs(self) -> Mapping[str, torch.Tensor]:
        assert self.recording is not None
        outputs = self.recording.outputs
        return {"output" if len(outputs) == 1 else f"output {i}": o for i, o in enumerate(outputs)}


def compare_returned(
    names: Sequence[str],
    returned: Any,
    oracle: AutogradOracle,
    truth: Pass,
    outputs: Mapping[str, torch.Tensor],
    op: str | None = None,
    shares: int | None = None,
) -> tuple[list[Comparison], list[Finding]]:
    """Compare what one backward returned, entry by entry, with the truth of its inputs.

    With `shares`, the inputs are those of that call within a program.
    """
    case = oracle.case
    grads = as_tuple(returned)
    if len(grads) != len(case.inputs):
        return [], [_count(len(grads), len(case.inputs), op)]
    role, first = ("input", 0) if shares is None else ("share", shares)
    expected = {
        i: truth.gradients.get(Key("input", i) if shares is None else Key(role, first, i))
        for i, value in enumerate(case.inputs)
        if is_differentiable(value)
    }
    tensors = {n: v for n, v in zip(names, case.inputs, strict=True) if isinstance(v, torch.Tensor)} | dict(outputs)
    references = {names[i]: g for i, g in expected.items() if g is not None}
    subgradients = Subgradients(oracle)
    compared = []
    for i, true in expected.items():
        value = case.inputs[i]
        slot = Slot(names[i], f"input {i} {names[i]!r}", tuple(value.shape), value.dtype, value.device, op)
        key = Key("input", i)

        def evidence(actual: torch.Tensor, wanted: torch.Tensor, slot: Slot = slot) -> Evidence:
            return Evidence(slot.name, actual.detach(), wanted, slot.dtype, tensors, references, case.grad_outputs or ())

        compared.append(
            compare_gradient(
                slot,
                grads[i],
                true,
                references_of(oracle, key, value.dtype),
                evidence,
                lambda key=key: subgradients.interval(key),  # type: ignore[misc]
            )
        )
    return compared, []


def references_of(oracle: AutogradOracle, key: Key, dtype: torch.dtype) -> Callable[[str], list[torch.Tensor]]:
    """The reference gradients at `key` by level, from the oracle's passes; `native` adds nothing in float64."""

    def references(level: str) -> list[torch.Tensor]:
        if level == "native" and torch.finfo(dtype).bits == 64:
            return []
        found = [each.gradients.get(key) for each in oracle.references(level, dtype)]
        return [value.detach() for value in found if value is not None]

    return references


def isolated(
    call: Call, number: int, truth: Pass, case: Case, evaluations: dict[str, int]
) -> tuple[list[Comparison], list[Finding]]:
    """Run one call's hand-written rule on the oracle's own values and upstream, and compare it with its own share."""
    label = call_label(call)
    inputs = tuple(v.detach() if isinstance(v, torch.Tensor) else v for v in call.inputs)
    outputs = tuple(v.detach() if isinstance(v, torch.Tensor) else v for v in call.outputs)
    upstream = tuple(_upstream(truth, number, j, output) for j, output in enumerate(outputs))
    subject = adapt_op(call.op)
    assert subject is not None
    local = Case(inputs, call.options, upstream, case.seed, case.label)
    oracle = AutogradOracle(subject, local, evaluations)
    try:
        returned = run_rule(replace(call, inputs=inputs, outputs=outputs), upstream)
    except Exception as error:
        first = str(error).strip().splitlines()
        return [], [
            Finding(
                "raises",
                "error",
                f"backward of {label} raised {type(error).__name__}",
                explanation=first[0] if first else type(error).__name__,
                suggestion="look at the backward's traceback below",
                op=label,
                traceback=_user_traceback(error),
            )
        ]
    named = {"output": outputs[0]} if len(outputs) == 1 else {f"output {j}": o for j, o in enumerate(outputs)}
    return compare_returned(call.op.names(len(inputs)), returned, oracle, truth, named, label, shares=number)


def run_rule(call: Call, upstream: Sequence[torch.Tensor]) -> Any:
    """Run a call's hand-written rule on copies of its tensors; returns what it returns."""
    with torch.no_grad():
        return call.backward([copy_tensor(g) for g in upstream], copy_inputs(call.inputs), copy_inputs(call.outputs))


def call_label(call: Call) -> str:
    """`relu (A1)`: the op, and the variable that its result was assigned to."""
    return f"{call.op.name} ({', '.join(call.names)})" if call.names else call.op.name


def _upstream(truth: Pass, call: int, output: int, like: Any) -> torch.Tensor:
    grad = truth.gradients.get(Key("value", call, output))
    return torch.zeros_like(like) if grad is None else grad


def _count(returned: int, inputs: int, op: str | None) -> Finding:
    return Finding(
        "gradient-count",
        "error",
        f"backward returned {returned} gradients for {inputs} inputs",
        explanation=f"returned {returned} for {inputs} inputs",
        suggestion="return one gradient per input, in order, None where not differentiable",
        op=op,
    )


def _widened(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(
        v.detach().to(torch.complex128 if v.is_complex() else torch.float64) if is_differentiable(v) else v for v in values
    )


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    if torch.equal(a, b):
        return True
    if not is_differentiable(a) or not bool(torch.isnan(a).any()):
        return False
    return bool(((a == b) | (torch.isnan(a) & torch.isnan(b))).all())


def _user_traceback(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    kept = [frame for frame in frames if not frame.filename.startswith(_ENGINE)] or list(frames)
    return "".join(traceback.format_list(kept) + traceback.format_exception_only(error))
