"""Programs: every intermediate compared, each op alone on the oracle's values, and what is wrong only because of another op."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.entries import references_of
from gradcheck_lab.comparison.first_looks import Entry, First, first_looks
from gradcheck_lab.comparison.further_draws import Draw, FurtherDraws, on_further_draws
from gradcheck_lab.comparison.gradient import compare_gradient
from gradcheck_lab.comparison.isolated_rule import call_label, compare_isolated_rule
from gradcheck_lab.comparison.numbers import judge_by_references
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import ALLOWED, ALLOWED_ALONE, Finding
from gradcheck_lab.model.limits import EQUAL_CALLS_ALONE
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Call, Key, Subject


@dataclass(frozen=True, slots=True)
class ComparedProgram:
    """Every gradient of a program, what was found in its ops, and why anything could not be compared.

    `alone` are the comparisons of its ops by themselves.
    """

    comparisons: tuple[Comparison, ...] = ()
    findings: tuple[Finding, ...] = ()
    reasons: tuple[str, ...] = ()
    alone: tuple[Comparison, ...] = ()


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
    gradient that agrees with that run is wrong only because of them. Errors count from `margin` times their budget on. With a
    margin, which derived calls have, only some of many equal calls are run by themselves, unless anything is found.
    """
    truth = oracle.truth()
    if [call.op.identity for call in calls] != [call.op.identity for call in truth.calls]:
        why = f"{runner.subject.name} called other ops on its second run; make its control flow repeatable"
        return ComparedProgram(reasons=(why,))
    runner.begin(case.seed, backward=1)
    chosen = _some_of_each(calls) if margin > 1 else range(len(calls))
    alone = _each_op(calls, chosen, oracle, margin)
    draws = None if margin > 1 else FurtherDraws(runner, case)
    given_slots = _slots(runner.subject, case, calls, returned, intermediates)
    # numbers are laid at an op's door by running its rule in the oracle; a shape is the program's too
    in_shape = runner.subject.allowed.of(having("shape") | having("dtype"))
    slots = [(key, replace(slot, margin=margin, allowed=in_shape), gradient) for key, slot, gradient in given_slots]
    looks = first_looks(_entries(oracle, slots), 0.0, margin)
    compared = [_compare(oracle, key, slot, actual, draws, looks.get(key)) for key, slot, actual in slots]
    failed = any(comparison.result.verdict == "fail" for comparison in compared)
    if failed or any(own.findings for own in alone.values()):
        alone |= _each_op(calls, sorted({*range(len(calls))} - {*chosen}), oracle, margin)
    found = [finding for k in sorted(alone, reverse=True) for finding in alone[k].findings]
    blamed = {
        k: call_label(calls[k])
        for k, own in sorted(alone.items(), reverse=True)
        if any(f.severity == "error" or f.cause in having("admitted") for f in own.findings) or own.is_excused
    }
    wrong = {k for k in blamed if any(f.severity == "error" and f.op == blamed[k] for f in found)}
    given = _substituted(oracle, frozenset(blamed)) if blamed else None
    if given is not None:
        settled_by = ALLOWED if any(own.is_excused for own in alone.values()) else "subgradient"
        compared = [
            comparison if comparison.result.verdict != "fail"
            else _attributed(oracle, *slot, given, comparison, blamed, wrong, settled_by)
            for slot, comparison in zip(slots, compared, strict=True)
        ]  # fmt: skip
    of_ops = tuple(comparison for k in sorted(alone) for comparison in alone[k].comparisons)
    return ComparedProgram(tuple(compared), (*found, *(f for c in compared for f in c.findings)), alone=of_ops)


class _Alone(NamedTuple):
    """The rule of one op call by itself: its gradients, and everything that was found."""

    comparisons: list[Comparison]
    findings: list[Finding]

    @property
    def is_excused(self) -> bool:
        """Whether a mistake that the user allows was taken away from one of its gradients."""
        return any(comparison.result.settled_by in (ALLOWED, ALLOWED_ALONE) for comparison in self.comparisons)


def _some_of_each(calls: Sequence[Call]) -> list[int]:
    """The numbers of a few calls of every kind, from the first to the last: one op with inputs of equal shapes and dtypes."""
    kinds: dict[Any, list[int]] = {}
    for k, call in enumerate(calls):
        shapes = tuple((v.dtype, v.shape) if isinstance(v, torch.Tensor) else None for v in call.inputs)
        kinds.setdefault((id(call.op), shapes, repr(call.options)), []).append(k)
    most = EQUAL_CALLS_ALONE.value
    return sorted({numbers[(len(numbers) - 1) * i // (most - 1)] for numbers in kinds.values() for i in range(most)})


def _each_op(calls: Sequence[Call], chosen: Sequence[int], oracle: AutogradOracle, margin: float) -> dict[int, _Alone]:
    """The rules of the chosen calls by themselves, by their number."""
    truth, found = oracle.truth(), dict[int, _Alone]()
    for k in reversed(chosen):
        compared, findings = compare_isolated_rule(replace(truth.calls[k], names=calls[k].names), k, oracle, margin)
        found[k] = _Alone(compared, [placed(finding) for finding in (*findings, *(f for c in compared for f in c.findings))])
    return found


def placed(finding: Finding) -> Finding:
    """The finding with the op that it is about in its message."""
    at = f"{finding.op}: " if finding.op and finding.cause not in having("no_result") else ""
    return replace(finding, message=at + finding.message)


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
    wanted = [i for i, v in enumerate(inputs) if is_differentiable(v) and i not in subject.constants]
    for i, value in enumerate(inputs):
        if i in wanted:
            others = tuple(names[j] for j in wanted if j != i and returned[j] is not None)
            slot = Slot(names[i], subject.labels[i], tuple(value.shape), value.dtype, value.device, others=others)
            yield Key("input", i), slot, returned[i]


def _entries(oracle: AutogradOracle, slots: Sequence[tuple[Key, Slot, torch.Tensor | None]]) -> dict[Key, Entry]:
    """The gradients whose structure is right, each with the truth."""
    found = {}
    for key, slot, actual in slots:
        true = oracle.truth().gradients.get(key)
        if isinstance(actual, torch.Tensor) and true is not None and actual.layout == torch.strided:
            fits = (tuple(actual.shape), actual.device, actual.dtype) == (slot.shape, slot.device, slot.dtype)
            if fits and true.device == actual.device:
                found[key] = Entry(actual.detach(), true, slot.dtype)
    return found


def _compare(
    oracle: AutogradOracle,
    key: Key,
    slot: Slot,
    actual: torch.Tensor | None,
    draws: FurtherDraws | None,
    first: First | None,
) -> Comparison:
    def again(draw: Draw) -> Evidence | None:
        pair = draw.pair(key)
        return None if pair is None else Evidence(slot.name, *pair, slot.dtype)

    def evidence(found: torch.Tensor, expected: torch.Tensor) -> Evidence:
        return Evidence(slot.name, found.detach(), expected, slot.dtype, again=on_further_draws(draws, again))

    references = references_of(oracle, key, slot.dtype)
    return compare_gradient(slot, actual, oracle.truth().gradients.get(key), references, evidence, first=first)


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
    settled_by: str,
) -> Comparison:
    """Mark a gradient that is right but for the blamed ops: contaminated, or merely of another convention."""
    expected = given.gradients.get(key)
    if not isinstance(actual, torch.Tensor) or expected is None or actual.shape != expected.shape:
        return comparison
    found, _, _ = judge_by_references(slot, actual, expected.detach(), references_of(oracle, key, slot.dtype))
    if not found.passed:
        return comparison
    if not wrong:
        passed = replace(comparison.result, verdict="pass", settled_by=settled_by)
        return Comparison(passed, sensitivity=found.sensitivity)
    return Comparison(replace(comparison.result, contaminated_by=blamed[max(wrong)]))
