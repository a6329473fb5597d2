"""Programs: every intermediate compared, each op alone on the oracle's values, and what is wrong only because of another op."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.comparison.entries import references_of
from gradcheck_lab.comparison.gradient import Comparison, compare_gradient, settle
from gradcheck_lab.comparison.isolated_rule import call_label, isolated
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence
from gradcheck_lab.model.causes import having
from gradcheck_lab.oracles.autograd.passes import Pass
from gradcheck_lab.rules.op import as_tuple
from gradcheck_lab.subjects.subject import Call, Key, Manual

if TYPE_CHECKING:
    from gradcheck_lab.examination.pipeline import Examination


def compare_program(examination: Examination, manual: Manual, truth: Pass) -> None:
    """Compare a program's gradients in backward order, and lay each wrong one at the door of the op that made it.

    Every op's rule is run once on the oracle's values; where some are wrong, autograd is run again with these rules in the
    place of its own: a gradient that agrees with that run is wrong only because of them.
    """
    recording, oracle = examination.recording, examination.oracle
    assert recording is not None
    if [call.op for call in recording.calls] != [call.op for call in truth.calls]:
        examination.reasons.append(
            f"{examination.subject.name} called other ops on its second run; make its control flow repeatable"
        )
        return
    oracle.evaluations["backward"] += 1
    blamed: dict[int, str] = {}
    for k in reversed(range(len(truth.calls))):
        compared, findings = isolated(
            replace(truth.calls[k], names=recording.calls[k].names), k, truth, oracle.case, oracle.evaluations
        )
        findings = findings + [f for c in compared for f in c.findings]
        for finding in findings:
            at = f"{finding.op}: " if finding.op and finding.cause not in having("no_result") else ""
            examination.findings.append(replace(finding, message=at + finding.message))
        if any(f.severity == "error" or f.cause in having("admitted") for f in findings):
            blamed[k] = call_label(recording.calls[k])
    wrong = {k for k in blamed if any(f.severity == "error" and f.op == blamed[k] for f in examination.findings)}
    given = _substituted(examination, frozenset(blamed)) if blamed else None
    for key, slot, actual in _slots(examination, manual, recording.calls):
        comparison = _compare(examination, key, slot, actual, truth)
        if comparison.result.verdict == "fail" and given is not None:
            comparison = _excused(examination, key, slot, actual, given, comparison, blamed, wrong)
        examination.comparisons.append(comparison)
        examination.findings += comparison.findings


def labels(calls: Sequence[Call], taken: Sequence[str]) -> dict[Key, str]:
    """A name for every intermediate: the variable that it was assigned to, else its op; `#2` for the second of a name."""
    seen = {name: 1 for name in taken}
    found: dict[Key, str] = {}
    for k, call in enumerate(calls):
        for j in range(len(call.outputs)):
            name = call.names[j] if j < len(call.names) else call.op.name
            if j >= len(call.names) and len(call.outputs) > 1:
                name = f"{name}[{j}]"
            seen[name] = seen.get(name, 0) + 1
            found[Key("value", k, j)] = name if seen[name] == 1 else f"{name}#{seen[name]}"
    return found


def _slots(examination: Examination, manual: Manual, calls: Sequence[Call]) -> Iterator[tuple[Key, Slot, torch.Tensor | None]]:
    inputs = examination.case.inputs
    names = examination.subject.names
    named = labels(calls, names)
    consumed = {id(value) for call in calls for value in call.inputs}
    for k in reversed(range(len(calls))):
        for j, output in enumerate(calls[k].outputs):
            if is_differentiable(output) and id(output) in consumed:
                key = Key("value", k, j)
                slot = Slot(named[key], f"intermediate {named[key]!r}", tuple(output.shape), output.dtype, output.device)
                yield key, slot, manual.intermediates.get(key)
    returned = as_tuple(manual.returned)
    for i, value in enumerate(inputs):
        if is_differentiable(value):
            slot = Slot(names[i], examination.subject.labels[i], tuple(value.shape), value.dtype, value.device)
            yield Key("input", i), slot, returned[i]


def _compare(examination: Examination, key: Key, slot: Slot, actual: torch.Tensor | None, truth: Pass) -> Comparison:
    def evidence(found: torch.Tensor, expected: torch.Tensor) -> Evidence:
        return Evidence(slot.name, found.detach(), expected, slot.dtype)

    references = references_of(examination.oracle, key, slot.dtype)
    return compare_gradient(slot, actual, truth.gradients.get(key), references, evidence)


def _substituted(examination: Examination, calls: frozenset[int]) -> Pass | None:
    try:
        return examination.oracle.run(torch.float64, substitute=calls)
    except Exception:  # the wrong rule does not even run inside autograd: nothing can be laid at its door
        return None


def _excused(
    examination: Examination,
    key: Key,
    slot: Slot,
    actual: torch.Tensor | None,
    given: Pass,
    comparison: Comparison,
    blamed: dict[int, str],
    wrong: set[int],
) -> Comparison:
    """Mark a gradient that is right but for the blamed ops: contaminated, or merely of another convention."""
    expected = given.gradients.get(key)
    if actual is None or expected is None or actual.shape != expected.shape:
        return comparison
    found, _, _ = settle(slot, actual, expected.detach(), references_of(examination.oracle, key, slot.dtype))
    if not found.passed:
        return comparison
    if not wrong:
        passed = replace(comparison.result, verdict="pass", settled_by="subgradient")
        return Comparison(passed, sensitivity=found.sensitivity)
    return Comparison(replace(comparison.result, contaminated_by=blamed[max(wrong)]))
