"""What one backward returned, entry by entry against the truth; and the rule of one call run alone on the oracle's values."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gradcheck_lab.adapters.op import adapt_op
from gradcheck_lab.case import Case, copy_inputs, is_differentiable
from gradcheck_lab.comparison import Comparison, compare_gradient
from gradcheck_lab.comparison_findings import number
from gradcheck_lab.diagnosis import Evidence
from gradcheck_lab.op import as_tuple
from gradcheck_lab.oracles.autograd import AutogradOracle, Pass
from gradcheck_lab.oracles.reruns import Reruns
from gradcheck_lab.oracles.subgradient import Subgradients
from gradcheck_lab.report import Finding
from gradcheck_lab.slot import Slot
from gradcheck_lab.subject import Call, Key, Subject
from gradcheck_lab.tolerance import judge

_COPIED = 1 << 20
_COARSE = 16
_COARSER, _GROWN = 16, 4
_JUMP = 1e-2
_CALM = 1e-6
_ENGINE = tuple(
    str(Path(__file__).parent / name)
    for name in ("examine.py", "adapters", "oracles", "probes", "op.py", "operators.py", "variable.py")
)


def compare_returned(
    subject: Subject,
    returned: Any,
    oracle: AutogradOracle,
    truth: Pass,
    outputs: Mapping[str, torch.Tensor],
    op: str | None = None,
    shares: int | None = None,
) -> list[Comparison]:
    """Compare what one backward returned, entry by entry, with the truth of its inputs.

    With `shares`, the inputs are those of that call within a program.
    """
    case, names = oracle.case, subject.names
    grads = as_tuple(returned)
    role, first = ("input", 0) if shares is None else ("share", shares)
    expected = {
        i: truth.gradients.get(Key("input", i) if shares is None else Key(role, first, i))
        for i, value in enumerate(case.inputs)
        if is_differentiable(value) and i not in subject.constants
    }
    tensors = {n: v for n, v in zip(names, case.inputs, strict=True) if isinstance(v, torch.Tensor)} | dict(outputs)
    references = {names[i]: g for i, g in expected.items() if g is not None}
    options = {n: v for n, v in zip(names, case.inputs, strict=True) if not isinstance(v, torch.Tensor)} | dict(case.options)
    subgradients = Subgradients(oracle)
    compared = []
    for i, true in expected.items():
        value = case.inputs[i]
        slot = Slot(names[i], subject.labels[i], tuple(value.shape), value.dtype, value.device, op)
        key = Key("input", i)
        if oracle.coarse and true is not None:
            slot = replace(slot, slack=_COARSE * oracle.coarse * float(true.square().mean().sqrt() if true.numel() else 0.0))

        def evidence(actual: torch.Tensor, wanted: torch.Tensor, slot: Slot = slot, i: int = i) -> Evidence:
            reruns = Reruns(oracle, i)
            return Evidence(
                name=slot.name,
                actual=actual.detach(),
                expected=wanted,
                dtype=slot.dtype,
                tensors=tensors,
                references=references,
                upstream=case.grad_outputs or (),
                precision=slot.slack,
                options=options,
                assigned=subject.kind == "layer",
                paths=reruns.paths,
                unreduced=reruns.unreduced,
                conjugated=reruns.conjugated,
                reversed=reruns.reversed,
            )

        compared.append(
            compare_gradient(
                slot,
                grads[i],
                true,
                references_of(oracle, key, value.dtype),
                evidence,
                partial(subgradients.intervals, key),
            )
        )
    return compared


def references_of(oracle: AutogradOracle, key: Key, dtype: torch.dtype) -> Callable[[str], list[torch.Tensor]]:
    """The reference gradients at `key` by level, from the oracle's passes; `native` adds nothing in float64."""

    def references(level: str) -> list[torch.Tensor]:
        if level == "native" and torch.finfo(dtype).bits == 64:
            return []
        found = [each.gradients.get(key) for each in oracle.references(level, dtype)]
        truth = oracle.truth().gradients.get(key)
        tensors = [value.detach() for value in found if value is not None]
        if level == "native" or truth is None:
            return tensors

        def coarser(times: int) -> list[torch.Tensor]:
            again = [each.gradients.get(key) for each in oracle.references(level, dtype, times)]
            return [value.detach() for value in again if value is not None]

        tensors = without_jumps(tensors, truth.detach(), coarser)
        return [_pooled(t, truth.detach()) for t in tensors] if level == "torn" else tensors

    return references


def isolated(
    call: Call, number: int, truth: Pass, case: Case, evaluations: dict[str, int]
) -> tuple[list[Comparison], list[Finding]]:
    """Run one call's hand-written rule on the oracle's own values and upstream, and compare it with its own share."""
    label = call_label(call)
    inputs, outputs = detached(call.inputs), detached(call.outputs)
    upstream = tuple(_upstream(truth, number, j, output) for j, output in enumerate(outputs))
    subject = adapt_op(call.op, inputs, dict(call.options))
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
                traceback=user_traceback(error),
            )
        ]
    count = len(as_tuple(returned))
    if count != len(inputs):
        return [], [wrong_count(count, len(inputs), label)]
    named = {"output": outputs[0]} if len(outputs) == 1 else {f"output {j}": o for j, o in enumerate(outputs)}
    return compare_returned(subject, returned, oracle, truth, named, label, shares=number), []


def run_rule(call: Call, upstream: Sequence[torch.Tensor]) -> Any:
    """Run a call's hand-written rule on its tensors, copied where that costs nothing; returns what it returns."""
    parts = [tuple(upstream), call.inputs, call.outputs]
    if sum(v.numel() for part in parts for v in part if isinstance(v, torch.Tensor)) <= _COPIED:
        parts = [copy_inputs(part) for part in parts]
    with torch.no_grad():
        return call.backward(*parts)


def detached(values: Sequence[Any]) -> tuple[Any, ...]:
    """The tensors apart from their graph, sharing their storage; other values as they are."""
    return tuple(v.detach() if isinstance(v, torch.Tensor) else v for v in values)


def call_label(call: Call) -> str:
    """`relu (A1)`: the op, and the variable that its result was assigned to."""
    return f"{call.op.name} ({', '.join(call.names)})" if call.names else call.op.name


def _upstream(truth: Pass, call: int, output: int, like: Any) -> torch.Tensor:
    grad = truth.gradients.get(Key("value", call, output))
    return torch.zeros_like(like) if grad is None else grad


def _pooled(reference: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """A reference in which elements that are nothing but noise all err by the largest noise."""
    noise = float((reference - truth).abs().max()) if truth.numel() else 0.0
    return torch.where(truth.abs() <= noise, truth + noise, reference)


def without_jumps(
    references: Sequence[torch.Tensor], truth: torch.Tensor, coarser: Callable[[int], Sequence[torch.Tensor]]
) -> list[torch.Tensor]:
    """Simulated references, but for elements that a perturbation moved across a kink: those say nothing of rounding.

    They are told by the gap: ill-conditioning errs by all amounts, a kink by everything beside elements that hardly err. So
    does what is left where terms cancel; but that grows with the rounding, and a jump is as large where rounding is `coarser`.
    """
    jumps = [_jumps(reference, truth) for reference in references]
    if not any(bool(jumped.any()) for jumped in jumps):
        return list(references)
    more = coarser(_COARSER)
    if len(more) == len(references):
        grown = [(c - truth).abs() >= _GROWN * (r - truth).abs() for c, r in zip(more, references, strict=True)]
        jumps = [jumped & ~noise for jumped, noise in zip(jumps, grown, strict=True)]
    return [torch.where(jumped, truth, r) for jumped, r in zip(jumps, references, strict=True)]


def _jumps(reference: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The elements that err by everything, where all others hardly err; none where there is no such gap."""
    none = torch.zeros(reference.shape, dtype=torch.bool, device=reference.device)
    if not truth.numel() or reference.shape != truth.shape:
        return none
    size = torch.maximum(truth.abs(), truth.abs().square().mean().sqrt())
    error = (reference - truth).abs()
    jumped = error > _JUMP * size
    calm = error[~jumped & (truth != 0)]
    told_apart = bool(jumped.any()) and calm.numel() > 0 and float(calm.max()) <= _CALM * float(size.max())
    return jumped if told_apart else none


def forward_mismatch(outputs: Sequence[Any], truth: Pass, oracle: AutogradOracle) -> Finding | None:
    """The finding for a forward that is not the reference's; None where they agree within rounding."""
    if len(outputs) != len(truth.outputs):
        return _mismatch(f"forward has {len(outputs)} outputs and the reference {len(truth.outputs)}", "")
    for k, (mine, wide) in enumerate(zip(outputs, truth.outputs, strict=True)):
        what = "output" if len(outputs) == 1 else f"output {k}"
        if not isinstance(mine, torch.Tensor) or not isinstance(wide, torch.Tensor) or not is_differentiable(mine):
            continue
        if mine.shape != wide.shape:
            return _mismatch(f"{what} has shape {tuple(mine.shape)}, that of the reference {tuple(wide.shape)}", "")
        roundings = 8 if torch.finfo(mine.dtype).bits == 16 else 64
        found = judge(mine, wide.detach(), mine.dtype, roundings=roundings)
        if not found.passed:
            simulated = [each.outputs[k].detach() for each in oracle.references("simulated", mine.dtype)]
            found = judge(mine, wide.detach(), mine.dtype, simulated, roundings=roundings)
        if not found.passed and found.worst_index is not None:
            at = found.worst_index
            values = f"forward {number(mine[at])!r}, reference {number(wide[at])!r}"
            return _mismatch(f"{what} differs from the reference's", f"first seen at {list(at)}: {values}")
    return None


def _mismatch(message: str, where: str) -> Finding:
    return Finding(
        "forward-mismatch",
        "error",
        message,
        explanation="the forward is another function than the reference, so their gradients cannot be compared",
        suggestion="make the two forwards agree first",
        where=where,
    )


def wrong_count(returned: int, inputs: int, op: str | None) -> Finding:
    """The finding for a backward that returned another number of gradients than there are inputs."""
    return Finding(
        "gradient-count",
        "error",
        f"backward returned {returned} gradients for {inputs} inputs",
        explanation=f"returned {returned} for {inputs} inputs",
        suggestion="return one gradient per input, in order, None where not differentiable",
        op=op,
    )


def user_traceback(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    kept = [frame for frame in frames if not frame.filename.startswith(_ENGINE)] or list(frames)
    return "".join(traceback.format_list(kept) + traceback.format_exception_only(error))
