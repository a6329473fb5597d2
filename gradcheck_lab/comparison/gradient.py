"""Comparison of one gradient: structure first (kind, shape, dtype, device), then numbers by the budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.comparison.allowed import beyond, excused
from gradcheck_lab.comparison.compared import Comparison, EvidenceOf, Intervals, References, plain_result
from gradcheck_lab.comparison.findings import dtype_problem, number, short_dtype, show
from gradcheck_lab.comparison.first_looks import First
from gradcheck_lab.comparison.numbers import compare_numbers
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence, Explanation, explain
from gradcheck_lab.diagnosis.allowance import Excuse
from gradcheck_lab.diagnosis.shapes import reshaped
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import wide_dtype
from gradcheck_lab.subjects.contained import NotComparable


def compare_gradient(
    slot: Slot,
    actual: Any,
    truth: torch.Tensor | None,
    references: References,
    evidence: EvidenceOf,
    intervals: Intervals = lambda doubtful, within: (),
    first: First | None = None,
) -> Comparison:
    """Compare one gradient with the truth, a float64 tensor, None for zero.

    `references(level)` gives further sound gradients when the cheap bounds do not settle it ("native", then
    "simulated"); `intervals` the subgradients at a kink, ever better known; `evidence` what the diagnosis may look at; `first`
    is its first look, where that was taken.
    """
    expected = truth if truth is not None else _zero(slot)
    warnings: list[Finding] = []
    if actual is None:
        if not bool(expected.any()):
            return Comparison(plain_result(slot, "pass", elements=expected.numel()))
        missing = _missing(slot, expected)
        if not slot.permits("missing-gradient"):
            return missing
        told = Explanation("missing-gradient", missing.findings[0].explanation, "")
        return excused(Comparison(plain_result(slot, "pass")), slot, Excuse((told,)))
    if isinstance(actual, NotComparable):
        found = Explanation("wrong-dtype", f"{actual.what} came back", f"return {actual.instead}, of {short_dtype(slot.dtype)}")
        return _broken(slot, f"is {actual.what}, expected a dense tensor of {short_dtype(slot.dtype)}", found)
    if not isinstance(actual, torch.Tensor):
        kind = type(actual).__name__
        explanation = Explanation("wrong-shape", f"a {kind} came back", f"return a tensor of shape {slot.shape}")
        return _broken(slot, f"is a {kind}, expected a tensor", explanation)
    actual = actual.detach() if actual.layout == torch.strided else actual.detach().to_dense()
    if tuple(actual.shape) != slot.shape:
        found = explain(evidence(actual, expected))
        broken = _broken(slot, f"has shape {tuple(actual.shape)}, expected {slot.shape}", found)
        shaped = reshaped(actual, slot.shape, found.cause) if slot.permits(found.cause) else None
        return broken if shaped is None else _otherwise(slot, found, shaped, truth, references, evidence, intervals)
    if actual.device != slot.device:
        found = Explanation("wrong-dtype", "it lives on another device than its input", f"move it with .to({slot.device})")
        return _broken(slot, f"is on {actual.device}, its input on {slot.device}", found)
    if actual.dtype != slot.dtype:
        problem = dtype_problem(slot, actual.dtype)
        if problem.severity == "error":
            found = Explanation(problem.cause, problem.explanation, problem.suggestion)
            if slot.permits(found.cause) and actual.dtype.is_complex == slot.dtype.is_complex:
                as_it_came = replace(slot, dtype=actual.dtype)
                return _otherwise(as_it_came, found, actual, truth, references, evidence, intervals)
            return Comparison(plain_result(slot, "fail", elements=actual.numel()), (problem,))
        warnings.append(problem)
    known = None if first is None else first.judgement
    if first is not None and first.judgement.passed:
        actual, expected = first.actual, first.truth
    return compare_numbers(slot, actual, expected.to(actual.device), references, evidence, intervals, warnings, known)


def _otherwise(
    slot: Slot,
    allowed: Explanation,
    actual: torch.Tensor,
    truth: torch.Tensor | None,
    references: References,
    evidence: EvidenceOf,
    intervals: Intervals,
) -> Comparison:
    """The comparison of a gradient whose allowed shape or dtype was put right."""

    def as_it_came(found: torch.Tensor, expected: torch.Tensor) -> Evidence:
        given = evidence(found, expected)
        again = None if given.again is None else (replace(draw, dtype=slot.dtype) for draw in given.again())
        return replace(given, dtype=slot.dtype, again=None if again is None else lambda: again)

    rest = compare_gradient(slot, actual, truth, references, as_it_came, intervals)
    if rest.result.verdict != "pass":
        return beyond(rest, slot, allowed.cause)
    inner = Excuse(()) if rest.excuse is None else rest.excuse
    return excused(rest, slot, replace(inner, told=(allowed, *inner.told)))


def _missing(slot: Slot, expected: torch.Tensor) -> Comparison:
    index = tuple(int(k) for k in torch.nonzero(expected)[0])
    finding = Finding(
        cause="missing-gradient",
        severity="error",
        message=f"gradient of {slot.label} is None",
        gradient=slot.name,
        explanation=f"{slot.label} receives None, and {slot.reference} gives {show(number(expected[index]))}",
        suggestion=f"return the gradient of {slot.name!r}{_or_say_so(slot)}",
        op=slot.op,
    )
    return Comparison(plain_result(slot, "fail", expected.numel()), (finding,))


def _or_say_so(slot: Slot) -> str:
    """What to do where no gradient is wanted: name those that are."""
    if not slot.others:
        return ""
    where = f" of {slot.op.split(' (')[0]}" if slot.op is not None else ""
    return f"; where none is wanted, say which inputs{where} need one: wrt={list(slot.others)}"


def _broken(slot: Slot, what: str, explanation: Explanation) -> Comparison:
    finding = Finding(
        cause=explanation.cause,
        severity="error",
        message=f"gradient of {slot.label} {what}",
        gradient=slot.name,
        explanation=explanation.sentence,
        suggestion=explanation.suggestion,
        op=slot.op,
    )
    return Comparison(plain_result(slot, "fail"), (finding,))


def _zero(slot: Slot) -> torch.Tensor:
    return torch.zeros((), dtype=wide_dtype(slot.dtype), device=slot.device).expand(slot.shape)
