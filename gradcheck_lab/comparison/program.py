"""Programs: every intermediate compared, each op alone on the oracle's values, and what is wrong only because of another op."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.comparison.entries import references_of
from gradcheck_lab.comparison.further_draws import Draw, FurtherDraws, on_further_draws
from gradcheck_lab.comparison.gradient import Comparison, compare_gradient, judge_by_references
from gradcheck_lab.comparison.isolated_rule import call_label, compare_isolated_rule
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Call, Key, Subject


@dataclass(frozen=True, slots=True)
class ComparedProgram:
    """Every gradient of a program, what was found in its ops, and why anything could not be compared."""

    comparisons: tuple[Comparison, ...] = ()
    findings: tuple[Finding, ...] = ()
    reasons: tuple[str, ...] = ()


def compare_program(
    runner: Runner,
    case: Case,
    calls: Sequence[Call],
    returned: Sequence[Any],
    intermediates: Mapping[Key, torch.Tensor | None],
    oracle: AutogradOracle,
    margin: float = 1.0,
) -> ComparedProgram:
    """Compare a program's gradients in backward order, and blame each wrong one on the op that made it.

    `calls` are the ops that the hand-written side called, `returned` and `intermediates` its gradients. Every op's rule is run
    once on the oracle's values; where some are wrong, autograd is run again with these rules in the place of its own: a
    gradient that agrees with that run is wrong only because of them. Errors count from `margin` times their budget on.
    """
    truth = oracle.truth()
    if [call.op for call in calls] != [call.op for call in truth.calls]:
        why = f"{runner.subject.name} called other ops on its second run; make its control flow repeatable"
        return ComparedProgram(reasons=(why,))
    runner.begin(case.seed, backward=1)
    found, blamed = _each_op(calls, oracle, margin)
    wrong = {k for k in blamed if any(f.severity == "error" and f.op == blamed[k] for f in found)}
    given = _substituted(oracle, frozenset(blamed)) if blamed else None
    compared, draws = [], None if margin > 1 else FurtherDraws(runner, case)
    for key, slot, actual in _slots(runner.subject, case, calls, returned, intermediates):
        slot = replace(slot, margin=margin)
        comparison = _compare(oracle, key, slot, actual, draws)
        if comparison.result.verdict == "fail" and given is not None:
            comparison = _attributed(oracle, key, slot, actual, given, comparison, blamed, wrong)
        compared.append(comparison)
    return ComparedProgram(tuple(compared), (*found, *(f for c in compared for f in c.findings)))


def _each_op(calls: Sequence[Call], oracle: AutogradOracle, margin: float) -> tuple[list[Finding], dict[int, str]]:
    """What is wrong with the rule of each op by itself, and the labels of these ops by their number."""
    truth, blamed, everything = oracle.truth(), dict[int, str](), list[Finding]()
    for k in reversed(range(len(truth.calls))):
        compared, findings = compare_isolated_rule(replace(truth.calls[k], names=calls[k].names), k, oracle, margin)
        findings = findings + [f for c in compared for f in c.findings]
        for finding in findings:
            at = f"{finding.op}: " if finding.op and finding.cause not in having("no_result") else ""
            everything.append(replace(finding, message=at + finding.message))
        if any(f.severity == "error" or f.cause in having("admitted") for f in findings):
            blamed[k] = call_label(calls[k])
    return everything, blamed


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


def _slots(
    subject: Subject,
    case: Case,
    calls: Sequence[Call],
    returned: Sequence[Any],
    intermediates: Mapping[Key, torch.Tensor | None],
) -> Iterator[tuple[Key, Slot, torch.Tensor | None]]:
    inputs, names = case.inputs, subject.names
    named = labels(calls, names)
    consumed = {id(value) for call in calls for value in call.inputs}
    for k in reversed(range(len(calls))):
        for j, output in enumerate(calls[k].outputs):
            if is_differentiable(output) and id(output) in consumed:
                key = Key("value", k, j)
                slot = Slot(named[key], f"intermediate {named[key]!r}", tuple(output.shape), output.dtype, output.device)
                yield key, slot, intermediates.get(key)
    for i, value in enumerate(inputs):
        if is_differentiable(value) and i not in subject.constants:
            slot = Slot(names[i], subject.labels[i], tuple(value.shape), value.dtype, value.device)
            yield Key("input", i), slot, returned[i]


def _compare(
    oracle: AutogradOracle, key: Key, slot: Slot, actual: torch.Tensor | None, draws: FurtherDraws | None
) -> Comparison:
    def again(draw: Draw) -> Evidence | None:
        pair = draw.pair(key)
        return None if pair is None else Evidence(slot.name, *pair, slot.dtype)

    def evidence(found: torch.Tensor, expected: torch.Tensor) -> Evidence:
        return Evidence(slot.name, found.detach(), expected, slot.dtype, again=on_further_draws(draws, again))

    references = references_of(oracle, key, slot.dtype)
    return compare_gradient(slot, actual, oracle.truth().gradients.get(key), references, evidence)


def _substituted(oracle: AutogradOracle, calls: frozenset[int]) -> Pass | None:
    try:
        return oracle.run(torch.float64, substitute=calls)
    except Exception:  # the wrong rule does not even run inside autograd: nothing can be laid at its door
        return None


def _attributed(
    oracle: AutogradOracle,
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
    if not isinstance(actual, torch.Tensor) or expected is None or actual.shape != expected.shape:
        return comparison
    found, _, _ = judge_by_references(slot, actual, expected.detach(), references_of(oracle, key, slot.dtype))
    if not found.passed:
        return comparison
    if not wrong:
        passed = replace(comparison.result, verdict="pass", settled_by="subgradient")
        return Comparison(passed, sensitivity=found.sensitivity)
    return Comparison(replace(comparison.result, contaminated_by=blamed[max(wrong)]))
