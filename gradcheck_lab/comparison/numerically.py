"""Gradients held against the numeric oracle: element by element where they are small, else along random directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.comparison.findings import number, show
from gradcheck_lab.comparison.further_draws import Draw, FurtherDraws, drawn_again
from gradcheck_lab.comparison.gradient import Comparison, compare_gradient
from gradcheck_lab.comparison.located import located, passed_along_directions
from gradcheck_lab.comparison.own_noise import OwnNoise
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import ELEMENTS_ONE_BY_ONE, ELEMENTS_ONE_BY_ONE_WHERE_WRONG
from gradcheck_lab.model.precision import unit_roundoff, widened
from gradcheck_lab.model.precision.budget import (
    NOTHING_TO_MEASURE,
    ONE_SIDED_ERROR,
    REFERENCE_ERRORS,
    SAME_ROUNDINGS,
    TELLING_ERROR_BOUND,
)
from gradcheck_lab.oracles.numeric.oracle import Disagreement, NumericOracle
from gradcheck_lab.oracles.numeric.scalar_problem import rms
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Key, Subject


def compare_numerically(runner: Runner, case: Case, entries: Mapping[int, Any], oracle: NumericOracle) -> list[Comparison]:
    """Compare what a backward returned, by input index, with numeric derivatives of the forward.

    An estimate whose error bound is too wide to tell right from wrong makes its gradient inconclusive. `runner` runs the
    backward again where its own rounding has to be known.
    """
    subject, inputs, found = runner.subject, case.inputs, []
    noise, draws = OwnNoise(runner, case, entries), FurtherDraws(runner, case)
    for index, actual in entries.items():
        value = inputs[index]
        slot = Slot(
            subject.names[index], subject.labels[index], tuple(value.shape), value.dtype, value.device, reference=oracle.method
        )
        structured = _structure(slot, actual)
        if structured is not None:
            found.append(structured)
        elif value.numel() <= ELEMENTS_ONE_BY_ONE.value:
            found.append(_elementwise(slot, index, actual, oracle, subject, noise, draws))
        else:
            found.append(_along_directions(slot, index, actual, oracle, subject, noise, draws))
    return found


def _structure(slot: Slot, actual: Any) -> Comparison | None:
    """The comparison of a gradient that is no tensor of its input's shape and dtype; None where it is, or is None."""
    if actual is None:
        return None
    blank = torch.zeros((), dtype=torch.float64, device=slot.device).expand(slot.shape)
    if isinstance(actual, torch.Tensor) and tuple(actual.shape) == slot.shape and actual.dtype == slot.dtype:
        return None
    compared = compare_gradient(slot, actual, blank, lambda level: [], lambda a, e: Evidence(slot.name, a, e, slot.dtype))
    return compared if compared.result.verdict == "fail" and compared.findings[-1].measured is None else None


def _elementwise(
    slot: Slot, index: int, actual: Any, oracle: NumericOracle, subject: Subject, noise: OwnNoise, draws: FurtherDraws
) -> Comparison:
    estimate = oracle.gradient(index)
    assert estimate.value is not None
    expected, notes, outside = _kinks(slot, index, actual, estimate.value, oracle)
    slot = replace(slot, truth_error=estimate.error)

    def again(draw: Draw) -> Evidence | None:
        found, other = draw.gradient(Key("input", index)), NumericOracle(draws.runner, draw.case)
        known = None if found is None else other.gradient(index)
        if found is None or known is None or known.value is None or bool(torch.isnan(known.value).any()):
            return None
        return _evidence(replace(slot, truth_error=known.error), found, known.value, other, subject)

    def evidence(found: torch.Tensor, wanted: torch.Tensor) -> Evidence:
        return replace(_evidence(slot, found, wanted, oracle, subject), again=drawn_again(draws, again))

    def references(level: str) -> list[torch.Tensor]:
        typical = noise.of(index) if level == "independent" else None
        return [] if typical is None else [expected + typical.to(expected.device)]

    compared = compare_gradient(slot, actual, expected, references, evidence)
    if outside is not None:
        return Comparison(replace(compared.result, verdict="fail"), (*notes, outside))
    if compared.result.verdict == "pass" and not _is_zero_but_for_rounding(slot, index, expected, oracle):
        scale = float(torch.nan_to_num(expected).abs().max()) if expected.numel() else 0.0
        if estimate.error > TELLING_ERROR_BOUND.value * max(scale, NOTHING_TO_MEASURE.value) and scale > 0:
            reason = f"the error bound of the {oracle.method}, {estimate.error:.1e}, is too wide to judge {slot.label}"
            return Comparison(replace(compared.result, verdict="inconclusive", reason=f"{reason}; pass reference="))
    return _sensitive(replace(compared, findings=(*notes, *compared.findings)), slot, index, expected, oracle)


def _evidence(slot: Slot, actual: torch.Tensor, expected: torch.Tensor, oracle: NumericOracle, subject: Subject) -> Evidence:
    given = oracle.problem
    return Evidence(
        slot.name,
        actual.detach(),
        expected,
        slot.dtype,
        {name: v for name, v in zip(subject.names, given.inputs, strict=True) if isinstance(v, torch.Tensor)},
        upstream=given.grad_outputs,
        precision=slot.truth_error,
        options=given.options,
    )


def _is_zero_but_for_rounding(slot: Slot, index: int, gradient: torch.Tensor, oracle: NumericOracle) -> bool:
    """Whether a gradient is nothing but rounding at the size of the outputs, as where all its terms cancel.

    Its relative error then says nothing, and an error of an ordinary size would have been seen.
    """
    value, count = oracle.problem.inputs[index].detach(), max(1, gradient.numel())
    reach = rms(gradient) * count * rms(value)
    return reach <= SAME_ROUNDINGS.value * unit_roundoff(slot.dtype) * float(oracle.problem.magnitude().sum())


def _sensitive(compared: Comparison, slot: Slot, index: int, gradient: torch.Tensor, oracle: NumericOracle) -> Comparison:
    """Inconclusive where a gradient passed that would have passed whatever it was."""
    if compared.result.verdict != "pass" or compared.sensitivity is None or compared.sensitivity < 1:
        return compared
    if _is_zero_but_for_rounding(slot, index, gradient, oracle):
        return replace(compared, sensitivity=None)
    reason = f"the {oracle.method} is too coarse to judge {slot.label}: an error as large as the gradient would pass"
    return replace(compared, result=replace(compared.result, verdict="inconclusive", reason=f"{reason}; pass reference="))


def _kinks(
    slot: Slot, index: int, actual: Any, value: torch.Tensor, oracle: NumericOracle
) -> tuple[torch.Tensor, list[Finding], Finding | None]:
    """Fill in the elements without a derivative: with the gradient itself where the one-sided derivatives admit it."""
    notes: list[Finding] = []
    expected, outside, near = value.clone(), None, ONE_SIDED_ERROR.value
    missing = torch.nonzero(torch.isnan(value.reshape(-1))).reshape(-1).tolist() if not value.is_complex() else []
    for element in missing:
        low, high = sorted(oracle.one_sided(index, element))
        mine = 0.0 if actual is None else float(number(actual.reshape(-1)[element]).real)
        if math.isnan(low) or math.isnan(high):
            cause, text = "discontinuous", "jumps or is not finite beside"
        elif low - near * abs(low) <= mine <= high + near * abs(high):
            expected.reshape(-1)[element] = mine
            cause, text = "convention", "has a kink at"
        else:
            outside = Finding(
                "outside-subdifferential",
                "error",
                f"gradient of {slot.label} is outside the one-sided derivatives at flat index {element}",
                gradient=slot.name,
                explanation=f"they are {show(low)} and {show(high)} there, and backward gives {show(mine)}",
                suggestion="return a value between the one-sided derivatives",
            )
            continue
        if not any(note.cause == cause for note in notes):
            notes.append(Finding(cause, "note", f"the forward {text} an element of {slot.label}", gradient=slot.name))
    return expected, notes, outside


def _along_directions(
    slot: Slot, index: int, actual: Any, oracle: NumericOracle, subject: Subject, noise: OwnNoise, draws: FurtherDraws
) -> Comparison:
    gradient = torch.zeros(slot.shape, dtype=slot.dtype, device=slot.device) if actual is None else actual.detach()
    if not bool(torch.isfinite(gradient).all()):
        blank = torch.zeros(slot.shape, dtype=torch.float64, device=slot.device)
        return compare_gradient(slot, actual, blank, lambda level: [], lambda a, e: Evidence(slot.name, a, e, slot.dtype))
    disagreements = [d for d in oracle.check_directions({index: gradient}) if not _is_own_noise(d, noise.of(index))]
    if gradient.numel() <= ELEMENTS_ONE_BY_ONE_WHERE_WRONG.value and (disagreements or index in oracle.unseen):
        return _elementwise(slot, index, actual, oracle, subject, noise, draws)
    if not disagreements:
        result = passed_along_directions(slot, gradient)
        if index in oracle.unseen:
            reason = f"{oracle.unseen[index]}, so {slot.label} was not judged there; pass reference="
            return Comparison(replace(result, verdict="inconclusive", reason=reason))
        return _sensitive(Comparison(result, sensitivity=oracle.sensitivity.get(index)), slot, index, gradient, oracle)
    return located(slot, index, gradient, oracle)


def _is_own_noise(disagreement: Disagreement, typical: torch.Tensor | None) -> bool:
    """Whether the backward's own rounding explains what a direction shows: roundings of single elements add up at random."""
    if typical is None:
        return False
    along = typical * widened(disagreement.direction).abs().to(typical.device)
    size = abs(disagreement.manual - disagreement.numeric.value)
    return size <= disagreement.allowed + REFERENCE_ERRORS.value * float(torch.linalg.vector_norm(along))
