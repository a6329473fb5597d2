"""Gradients held against the numeric oracle: element by element where they are small, else along random directions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.comparison.at_ties import by_mass, is_not_additive
from gradcheck_lab.comparison.compared import Comparison
from gradcheck_lab.comparison.findings import show
from gradcheck_lab.comparison.further_draws import Draw, FurtherDraws, on_further_draws
from gradcheck_lab.comparison.gradient import compare_gradient
from gradcheck_lab.comparison.located import located, passed_along_directions
from gradcheck_lab.comparison.numbers import judge_by_references
from gradcheck_lab.comparison.numeric_variations import variations
from gradcheck_lab.comparison.slot import Slot
from gradcheck_lab.diagnosis import Evidence
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import (
    ELEMENTS_ONE_BY_ONE,
    ELEMENTS_ONE_BY_ONE_WHERE_WRONG,
    INPUTS_TOGETHER,
    LOCATED_ELEMENTS,
    OF_OTHERS,
)
from gradcheck_lab.model.precision import unit_roundoff, widened
from gradcheck_lab.model.precision.budget import (
    AS_EXACT,
    COARSE_ORACLE,
    NOTHING_TO_MEASURE,
    ONE_SIDED_ERROR,
    SAME_ROUNDINGS,
    TELLING_ERROR_BOUND,
)
from gradcheck_lab.oracles.numeric.oracle import NumericOracle
from gradcheck_lab.oracles.numeric.scalar_problem import rms
from gradcheck_lab.oracles.numeric.together import right_together
from gradcheck_lab.subjects.subject import Key, Subject

Noise = Callable[[str], list[torch.Tensor]]


def compare_numerically(
    subject: Subject,
    inputs: Sequence[Any],
    entries: Mapping[int, Any],
    oracle: NumericOracle,
    noise: Callable[[int, str], list[torch.Tensor]] = lambda index, level: [],
    draws: FurtherDraws | None = None,
    margin: float = 1.0,
) -> list[Comparison]:
    """Compare what a backward returned, by input index, with numeric derivatives of the forward.

    An estimate whose error bound is too wide to tell right from wrong makes its gradient inconclusive. `noise(index, level)` is
    what rounding does to the gradient of an input, where that is known: samples by level, as references have. An explanation
    of a wrong gradient has to hold on one of `draws` too, where these are given. `margin` is
    how many times its budget an error has to be to count.
    """
    found = []
    given = {i: subject.names[i] for i, actual in entries.items() if actual is not None}
    slots = {
        i: replace(
            numeric_slot(subject, i, inputs[i], oracle.method),
            others=tuple(n for j, n in given.items() if j != i),
            margin=margin,
        )
        for i in entries
    }
    together = _right_together(slots, entries, oracle)
    for index, actual in entries.items():
        value, slot = inputs[index], slots[index]
        structured = None if index in together else wrong_structure(slot, actual)
        if structured is not None:
            found.append(structured)
        elif index in together:
            found.append(_passed(slot, index, actual.detach(), oracle, partial(noise, index)))
        elif value.numel() <= ELEMENTS_ONE_BY_ONE.value:
            found.append(_elementwise(slot, index, actual, oracle, subject, partial(noise, index), draws))
        else:
            found.append(_along_directions(slot, index, actual, oracle, subject, partial(noise, index), draws))
    return found


def numeric_slot(subject: Subject, index: int, value: torch.Tensor, method: str) -> Slot:
    """The slot of an input whose gradient is held against a numeric oracle."""
    name, label = subject.names[index], subject.labels[index]
    shape = tuple(value.shape)
    return Slot(name, label, shape, value.dtype, value.device, reference=method, allowed=subject.allowed)


def _right_together(slots: Mapping[int, Slot], entries: Mapping[int, Any], oracle: NumericOracle) -> frozenset[int]:
    """The inputs, of many, whose gradients are right along directions that move several of them; none of a few."""
    if len(entries) <= INPUTS_TOGETHER.value:
        return frozenset()
    usable = {i: g.detach() for i, g in entries.items() if isinstance(g, torch.Tensor) and wrong_structure(slots[i], g) is None}
    return right_together(oracle, {i: g for i, g in usable.items() if g.numel() and bool(torch.isfinite(g).all())})


def wrong_structure(slot: Slot, actual: Any) -> Comparison | None:
    """The comparison of a gradient that is no tensor of its input's shape and dtype; None where it is, or is None."""
    if actual is None:
        return None
    blank = torch.zeros((), dtype=torch.float64, device=slot.device).expand(slot.shape)
    if isinstance(actual, torch.Tensor) and tuple(actual.shape) == slot.shape and actual.dtype == slot.dtype:
        return None
    compared = compare_gradient(slot, actual, blank, lambda level: [], lambda a, e: Evidence(slot.name, a, e, slot.dtype))
    return compared if compared.result.verdict == "fail" and compared.findings[-1].measured is None else None


def _elementwise(
    slot: Slot,
    index: int,
    actual: Any,
    oracle: NumericOracle,
    subject: Subject,
    noise: Noise,
    draws: FurtherDraws | None,
) -> Comparison:
    estimate = oracle.gradient(index)
    assert estimate.value is not None
    expected, notes, outside = _kinks(slot, index, actual, estimate.value, oracle)
    if isinstance(actual, torch.Tensor) and oracle.gives_nan:
        expected = torch.where(torch.isnan(actual), torch.nan, expected)
    # a forward that casts to 16 bits on its way has their precision, whatever its inputs have
    own = COARSE_ORACLE.value * oracle.problem.own_roundoff * rms(estimate.value)
    slot = replace(slot, truth_error=estimate.error + own)

    def again(draw: Draw) -> Evidence | None:
        assert draws is not None
        found, other = draw.gradient(Key("input", index)), NumericOracle(draws.runner, draw.case)
        known = None if found is None else other.gradient(index)
        if found is None or known is None or known.value is None or bool(torch.isnan(known.value).any()):
            return None
        known_there = _evidence(replace(slot, truth_error=known.error), found, known.value, other, subject)
        return _with_further_runs(known_there, other, subject)

    def evidence(found: torch.Tensor, wanted: torch.Tensor) -> Evidence:
        known = _evidence(slot, found, wanted, oracle, subject)
        if draws is None:  # a derived call, of which less is asked
            return known
        return replace(_with_further_runs(known, oracle, subject), again=on_further_draws(draws, again))

    compared = compare_gradient(slot, actual, expected, lambda level: [expected + e for e in noise(level)], evidence)
    if outside is not None:
        return Comparison(replace(compared.result, verdict="fail"), (*notes, outside))
    if compared.result.verdict == "fail" and isinstance(actual, torch.Tensor) and is_not_additive(oracle, index, expected):
        return by_mass(slot, index, actual.detach(), oracle)
    if compared.result.verdict == "pass" and not _is_zero_but_for_rounding(slot, index, expected, oracle):
        scale = float(torch.nan_to_num(expected).abs().max()) if expected.numel() else 0.0
        telling = max(TELLING_ERROR_BOUND.value * max(scale, NOTHING_TO_MEASURE.value), _own_error(noise))
        if estimate.error > telling and scale > 0 and not _agree_to_rounding(slot, actual, expected, noise):
            if not oracle.problem.longer_steps:
                return _elementwise(slot, index, actual, oracle.with_longer_steps(), subject, noise, draws)
            reason = f"the error bound of the {oracle.method}, {estimate.error:.1e}, is too wide to judge {slot.label}"
            return Comparison(replace(compared.result, verdict="inconclusive", reason=f"{reason}; pass reference="))
        if isinstance(actual, torch.Tensor) and oracle.gives_nan and bool(torch.isnan(actual).any()):
            reason = f"the forward gives NaN, and where {slot.label} goes into that it has no derivative"
            return Comparison(replace(compared.result, verdict="inconclusive", reason=f"{reason}; pass other values"))
    compared = replace(compared, findings=(*notes, *compared.findings))
    if _is_zero_but_for_rounding(slot, index, expected, oracle):
        return replace(compared, sensitivity=None)
    return _sensitive(compared, slot, oracle, estimate.error, noise)


def _evidence(slot: Slot, actual: torch.Tensor, expected: torch.Tensor, oracle: NumericOracle, subject: Subject) -> Evidence:
    given, unknown = oracle.problem, torch.isnan(expected)
    tensors = {name: v.detach() for name, v in zip(subject.names, given.inputs, strict=True) if isinstance(v, torch.Tensor)}
    outputs = [o for o in given.base() if isinstance(o, torch.Tensor)]
    tensors |= {"output" if len(outputs) == 1 else f"output {k}": o for k, o in enumerate(outputs)}
    return Evidence(
        slot.name,
        actual.detach().masked_fill(unknown, 0.0),
        expected.masked_fill(unknown, 0.0),
        slot.dtype,
        tensors,
        upstream=given.grad_outputs,
        precision=slot.truth_error,
        options=given.options,
    )


def _with_further_runs(evidence: Evidence, oracle: NumericOracle, subject: Subject) -> Evidence:
    """The evidence with what takes further runs of the forward: the other gradients, and what this one might be."""
    references = _gradients_of_others(evidence.name, evidence.expected.shape, oracle, subject)
    index = subject.names.index(evidence.name)
    others = partial(variations, oracle, index, evidence.actual, evidence.tensors)
    return replace(evidence, references=references, variations=others)


def _gradients_of_others(this: str, shape: torch.Size, oracle: NumericOracle, subject: Subject) -> dict[str, torch.Tensor]:
    """The numeric gradients of the other inputs: one of the same shape may be the wrong one, small ones a factor in it."""
    found = {}
    for index, (name, value) in enumerate(zip(subject.names, oracle.problem.inputs, strict=True)):
        most = ELEMENTS_ONE_BY_ONE_WHERE_WRONG if is_differentiable(value) and value.shape == shape else OF_OTHERS
        if name != this and is_differentiable(value) and value.numel() <= most.value:
            gradient = oracle.gradient(index).value
            if gradient is not None and not bool(torch.isnan(gradient).any()):
                found[name] = gradient
    return found


def _is_zero_but_for_rounding(slot: Slot, index: int, gradient: torch.Tensor, oracle: NumericOracle) -> bool:
    """Whether a gradient is nothing but rounding at the size of the outputs, as where all its terms cancel.

    Its relative error then says nothing, and an error of an ordinary size would have been seen.
    """
    value, count = oracle.problem.inputs[index].detach(), max(1, gradient.numel())
    reach = rms(gradient) * count * rms(value)
    return reach <= SAME_ROUNDINGS.value * unit_roundoff(slot.dtype) * float(oracle.problem.magnitude().sum())


def _agree_to_rounding(slot: Slot, actual: Any, expected: torch.Tensor, noise: Noise) -> bool:
    """Whether the gradient is the estimate up to its own rounding: then a wide bound of the estimate takes nothing away."""
    if actual is None:
        return False
    return judge_by_references(
        replace(slot, truth_error=0.0), actual.detach(), expected, lambda level: [expected + e for e in noise(level)]
    )[0].passed


def _own_error(noise: Noise) -> float:
    """The error that a gradient may have by its own rounding: numbers that are as exact can tell all there is to tell."""
    return max([AS_EXACT.value * float(e.abs().max()) for e in noise("simulated") if e.numel()], default=0.0)


def _sensitive(compared: Comparison, slot: Slot, oracle: NumericOracle, error: float, noise: Noise) -> Comparison:
    """Inconclusive where a gradient passed that would have passed whatever it was, unless it is nothing but rounding."""
    if compared.result.verdict != "pass" or compared.sensitivity is None or compared.sensitivity < 1:
        return compared
    if error <= _own_error(noise):
        return compared
    reason = f"the {oracle.method} is too coarse to judge {slot.label}: an error as large as the gradient would pass"
    return replace(compared, result=replace(compared.result, verdict="inconclusive", reason=f"{reason}; pass reference="))


def _kinks(
    slot: Slot, index: int, actual: Any, value: torch.Tensor, oracle: NumericOracle
) -> tuple[torch.Tensor, list[Finding], Finding | None]:
    """Fill in the elements without a derivative: with the gradient itself where the one-sided derivatives admit it.

    Of a complex element each part is held against the derivatives along it.
    """
    notes: list[Finding] = []
    parts, outside, near = _parts(value).clone(), None, ONE_SIDED_ERROR.value
    given = None if actual is None else _parts(widened(actual))
    for place in torch.nonzero(torch.isnan(parts)).reshape(-1).tolist():
        element, imaginary = divmod(place, 2) if value.is_complex() else (place, 0)
        low, high = sorted(oracle.one_sided(index, element, bool(imaginary)), key=lambda side: (math.isnan(side), side))
        mine = 0.0 if given is None else float(given[place])
        ends = [side for side in (low, high) if not math.isnan(side)]
        if len(ends) == 1 and abs(mine - ends[0]) <= near * abs(ends[0]):
            parts[place] = mine
            cause, text = "convention", "ends or jumps at"
        elif len(ends) < 2:
            cause, text = "discontinuous", "jumps or is not finite beside"
            if actual is None:  # it has no derivative there, and nothing was claimed
                parts[place] = 0.0
        elif low - near * abs(low) <= mine <= high + near * abs(high):
            parts[place] = mine
            cause, text = "convention", "has a kink at"
        else:
            at = [int(k) for k in torch.unravel_index(torch.tensor(element), value.shape)]
            outside = Finding(
                "outside-subdifferential",
                "error",
                f"gradient of {slot.label} is outside the one-sided derivatives at {at}",
                gradient=slot.name,
                explanation=f"they are {show(low)} and {show(high)} there, and backward gives {show(mine)}",
                suggestion="return a value between the one-sided derivatives",
            )
            continue
        if not any(note.cause == cause for note in notes):
            notes.append(Finding(cause, "note", f"the forward {text} an element of {slot.label}", gradient=slot.name))
    expected = torch.view_as_complex(parts.reshape(-1, 2)) if value.is_complex() else parts
    return expected.reshape(value.shape), notes, outside


def _parts(value: torch.Tensor) -> torch.Tensor:
    """The numbers of a tensor in a row, the two parts of a complex one beside each other."""
    return (torch.view_as_real(value.detach().resolve_conj()) if value.is_complex() else value.detach()).reshape(-1)


def _along_directions(
    slot: Slot,
    index: int,
    actual: Any,
    oracle: NumericOracle,
    subject: Subject,
    noise: Noise,
    draws: FurtherDraws | None,
) -> Comparison:
    gradient = torch.zeros(slot.shape, dtype=slot.dtype, device=slot.device) if actual is None else actual.detach()
    broken = ~torch.isfinite(gradient)
    if bool(broken.any()):
        if gradient.numel() <= ELEMENTS_ONE_BY_ONE_WHERE_WRONG.value:
            return _elementwise(slot, index, actual, oracle, subject, noise, draws)
        if gradient.is_complex() or not _ends_at(oracle, index, broken):
            blank = torch.zeros(slot.shape, dtype=torch.float64, device=slot.device)
            return compare_gradient(slot, actual, blank, lambda level: [], lambda a, e: Evidence(slot.name, a, e, slot.dtype))
        oracle, gradient = oracle.holding(index, broken), gradient.masked_fill(broken, 0.0)
    disagreements = oracle.check_directions({index: gradient}, noise=lambda: [*noise("simulated"), *noise("independent")])
    if gradient.numel() <= ELEMENTS_ONE_BY_ONE_WHERE_WRONG.value and (disagreements or index in oracle.unseen):
        return _elementwise(slot, index, actual, oracle, subject, noise, draws)
    if not disagreements:
        if index in oracle.unseen:
            result = passed_along_directions(slot, gradient)
            reason = f"{oracle.unseen[index]}, so {slot.label} was not judged there; pass reference="
            return Comparison(replace(result, verdict="inconclusive", reason=reason))
        return _passed(slot, index, gradient, oracle, noise)
    return located(slot, index, gradient, oracle)


def _passed(slot: Slot, index: int, gradient: torch.Tensor, oracle: NumericOracle, noise: Noise) -> Comparison:
    """The comparison of a gradient that no direction contradicts; inconclusive where none could have."""
    result, sensitivity = passed_along_directions(slot, gradient), oracle.sensitivity.get(index)
    if _is_zero_but_for_rounding(slot, index, gradient, oracle):
        return Comparison(result)
    error = 0.0 if sensitivity is None else sensitivity * rms(gradient)
    return _sensitive(Comparison(result, sensitivity=sensitivity), slot, oracle, error, noise)


def _ends_at(oracle: NumericOracle, index: int, broken: torch.Tensor) -> bool:
    """Whether the forward has no finite derivative in these elements either, as at the ends of a domain; a few are tried."""
    places = torch.nonzero(broken.reshape(-1)).reshape(-1)
    tried = places[:: -(-places.numel() // LOCATED_ELEMENTS.value)].tolist()
    return oracle.gives_nan or all(any(map(math.isnan, oracle.one_sided(index, element))) for element in tried)
