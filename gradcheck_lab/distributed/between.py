"""The findings of an examination, with what went wrong between the ranks in the place of what one tensor shows of it."""

from __future__ import annotations

from dataclasses import replace

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.comparison.budget import judge, used_of_each
from gradcheck_lab.diagnosis import Explanation
from gradcheck_lab.distributed.explain import Held, explained
from gradcheck_lab.distributed.failures import on_ranks
from gradcheck_lab.distributed.placements import Replicate, Shard, sum_of, upstream_on, whole_of
from gradcheck_lab.distributed.together import Seen, Together
from gradcheck_lab.examination.examined import AutogradTruth, Examined, NumericTruth
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import ELEMENTS_ONE_BY_ONE_WHERE_WRONG
from gradcheck_lab.model.precision import widened
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.subjects.subject import Key


def told_between(examined: Examined, together: Together, seen: Seen) -> Examined:
    """The examination with what went wrong between the ranks in the place of what one tensor alone shows of it."""
    if not any(f.severity == "error" for f in examined.findings):
        return examined
    findings = []
    for finding in examined.findings:
        told = None
        if finding.severity == "error" and finding.gradient is not None:
            told = _explained_gradient(examined, together, seen, finding.gradient)
        elif finding.severity == "error" and finding.cause in having("forward"):
            told = _explained_output(examined, together, seen)
        if told is not None:
            finding = replace(finding, cause=told.cause, explanation=told.sentence, suggestion=told.suggestion, kept=())
        findings.append(_of_parts(finding, examined, together))
    return replace(examined, findings=tuple(findings))


def _explained_gradient(examined: Examined, together: Together, seen: Seen, name: str) -> Explanation | None:
    index = examined.subject.names.index(name) if name in examined.subject.names else -1
    truth, precision = _truth_of(examined, index) if index >= 0 else (None, 0.0)
    if truth is None or any(len(each) <= index or each[index] is None for each in seen.gradients):
        return None
    parts = tuple(part for each in seen.gradients if (part := each[index]) is not None)
    dtype = examined.case.inputs[index].dtype

    def own(rank: int) -> torch.Tensor | None:
        return _of_one_upstream(examined, together, index, rank)

    return explained(Held(parts, together.layout.inputs[index], truth, dtype, precision, own))


def _truth_of(examined: Examined, index: int) -> tuple[torch.Tensor | None, float]:
    """The true gradient of an input, and what an element of it may be off by."""
    truth = examined.truth
    if isinstance(truth, AutogradTruth):
        return truth.float64_pass.gradients.get(Key("input", index)), 0.0
    small = examined.case.inputs[index].numel() <= ELEMENTS_ONE_BY_ONE_WHERE_WRONG.value
    if isinstance(truth, NumericTruth) and small:
        estimate = truth.oracle.gradient(index)
        if estimate.value is not None and not bool(estimate.value.isnan().any()):
            return estimate.value, estimate.error
    return None, 0.0


def _of_one_upstream(examined: Examined, together: Together, index: int, rank: int) -> torch.Tensor | None:
    """The true gradient where the other ranks are given an upstream gradient of zero; None where that makes no sense."""
    layout, case = together.layout, examined.case
    if not isinstance(examined.truth, AutogradTruth) or case.grad_outputs is None:
        return None
    alone = []
    for k, value in enumerate(case.grad_outputs):
        placement = layout.output(k)
        if not isinstance(placement, Shard) and placement != Replicate("partial"):
            return None
        parts = upstream_on(value, placement, layout.ranks, layout.seed - 1 - k)
        kept = [part if r == rank else torch.zeros_like(part) for r, part in enumerate(parts)]
        alone.append(whole_of(kept, placement, 0) if isinstance(placement, Shard) else sum_of(kept))
    oracle = AutogradOracle(examined.oracle.runner, replace(case, grad_outputs=tuple(alone)))
    return oracle.truth().gradients.get(Key("input", index))


def _explained_output(examined: Examined, together: Together, seen: Seen) -> Explanation | None:
    truth = examined.oracle.truth()
    for k, parts in enumerate(zip(*seen.outputs, strict=True)):
        wide = truth.outputs[k].detach() if k < len(truth.outputs) else None
        if not isinstance(wide, torch.Tensor) or not is_differentiable(parts[0]):
            continue
        whole = whole_of(parts, together.layout.output(k), 0)
        if whole.shape == wide.shape and not judge(whole, widened(wide), whole.dtype).passed:
            placement = together.layout.output(k)
            lying = Replicate() if isinstance(placement, Replicate) else placement
            return explained(Held(tuple(parts), lying, wide, whole.dtype))
    return None


def _of_parts(finding: Finding, examined: Examined, together: Together) -> Finding:
    """The finding on a sharded input with the ranks whose part is wrong, where not all are."""
    index = examined.subject.names.index(finding.gradient) if finding.gradient in examined.subject.names else -1
    if index < 0 or not isinstance(placement := together.layout.inputs[index], Shard) or finding.measured is None:
        return finding
    truth, _ = _truth_of(examined, index)
    actual = examined.returned[index]
    if truth is None or actual is None or actual.shape != truth.shape:
        return finding
    used = used_of_each(actual, truth, actual.dtype)
    wrong = [r for r, part in enumerate(used.tensor_split(together.layout.ranks, placement.dim)) if bool((part > 1).any())]
    return replace(finding, message=f"{finding.message}, {on_ranks(wrong)}") if wrong else finding
