"""Why a graph of numbers has wrong gradients: an operation by itself, one that overwrites, or the order of its nodes."""

from __future__ import annotations

from dataclasses import replace

import torch

from gradcheck_lab.calls.case import copy_inputs
from gradcheck_lab.comparison.entries import compare_returned, outputs_by_name
from gradcheck_lab.comparison.numerically import compare_numerically
from gradcheck_lab.comparison.ops_alone import errors_of_ops
from gradcheck_lab.examination.examined import AutogradTruth, Examined, NumericTruth
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import REPEATED_GRAPHS
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.contained import comparable
from gradcheck_lab.subjects.subject import Steps


def with_steps(examined: Examined) -> Examined:
    """The examination of a graph of numbers with what its operations do by themselves, which says more than one number can."""
    subject, case = examined.subject, examined.case
    if subject.steps is None or examined.run is None or examined.policy.derived:
        return examined
    try:
        steps = subject.steps(case.inputs, case.options)
    except Exception:  # what it does as a whole is compared already
        return examined
    if steps is None:
        return examined
    found = errors_of_ops(examined.runner, steps.calls, case.seed)
    if found:
        return replace(examined, findings=(*found, *examined.findings))
    if steps.lost:
        lost = not examined.passed or _differs_from_run_to_run(examined)
        return replace(examined, findings=(*map(_overwrites, steps.lost), *examined.findings)) if lost else examined
    if examined.passed or not _right_in_order(examined, steps):
        return examined
    why = "it is right when each node sends on its gradient after all that are made of it: backward takes another order"
    return _with_cause(examined, "missing-term", why, "sort the nodes topologically, and call each once, the result first")


def _overwrites(step: str) -> Finding:
    return Finding(
        "fan-out-overwritten",
        "error",
        f"{step} assigns the gradient of what it uses",
        explanation="a value that it uses is used elsewhere too, and what that use has sent before is lost",
        suggestion="add to the gradient of each operand: += where there is =",
        op=step,
    )


def _differs_from_run_to_run(examined: Examined) -> bool:
    """Whether the order in which nodes are met, as in a set, changes the gradients of the same call."""
    case, runner, grads = examined.case, examined.runner, examined.case.grad_outputs or ()
    for _ in range(REPEATED_GRAPHS.value):
        try:
            manual = runner.backward(runner.record(copy_inputs(case.inputs), case), copy_inputs(grads), case.seed)
        except Exception:
            return False
        pairs = zip(as_tuple(manual.returned), examined.returned, strict=True)
        if any(isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and not torch.allclose(a, b) for a, b in pairs):
            return True
    return False


def _with_cause(examined: Examined, cause: str, why: str, fix: str) -> Examined:
    def told(finding: Finding) -> Finding:
        if finding.severity != "error" or finding.cause not in having("unexplained") | having("pattern"):
            return finding
        return replace(finding, cause=cause, explanation=why, suggestion=fix)

    compared = tuple(replace(c, findings=tuple(map(told, c.findings))) for c in examined.comparisons)
    return replace(examined, comparisons=compared, findings=tuple(map(told, examined.findings)))


def _right_in_order(examined: Examined, steps: Steps) -> bool:
    walked = steps.in_order()
    truth = examined.truth
    if walked is None or len(walked) != len(examined.returned):
        return False
    entries = {
        i: comparable(like.new_tensor(walked[i])) if walked[i] is not None else None
        for i, like in enumerate(examined.returned)
        if examined.is_compared(i) and hasattr(like, "new_tensor")
    }
    if isinstance(truth, NumericTruth):
        compared = compare_numerically(examined.subject, examined.case.inputs, entries, truth.oracle)
    elif isinstance(truth, AutogradTruth):
        returned = tuple(entries.get(i) for i in range(len(walked)))
        outputs = outputs_by_name(truth.float64_pass)
        compared = compare_returned(examined.subject, returned, truth.oracle, truth.float64_pass, outputs)
    else:
        return False
    return bool(compared) and all(each.result.verdict == "pass" for each in compared)
