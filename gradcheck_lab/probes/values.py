"""The gradient is right at values where formulas break: zeros, ties, bounds, large and tiny values, constant rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.similar_values import Structures, similar_values
from gradcheck_lab.calls.stress import EQUAL, GROUPS, SPREAD, TIES, WIDER, Stress, can_be_stressed, stressed, unseen_values
from gradcheck_lab.comparison.findings import number, show, unconserved_mass
from gradcheck_lab.examination.examined import NumericTruth
from gradcheck_lab.model.amounts import SMALLER_VALUES
from gradcheck_lab.model.causes import CAUSES, having
from gradcheck_lab.model.exceptions import SINGULAR
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import STRESSED_ALONE, STRESSED_ROWS
from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.model.precision.derived_calls import TIED_ROUNDINGS, WRONG_ELEMENT
from gradcheck_lab.probes.support.bounds_in_code import beside_bounds
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.cut_down import cut_down
from gradcheck_lab.probes.support.derived_calls import (
    DerivedCall,
    derived_case,
    derived_errors_at,
    examine_derived_call,
    repeated_index_text,
    wide_inputs,
)
from gradcheck_lab.probes.support.hidden_rows import hidden_rows
from gradcheck_lab.probes.support.kinks import kinked, unconserved
from gradcheck_lab.probes.support.lost_digits import lost_in_float32
from gradcheck_lab.probes.support.smooth_points import with_lost_derivatives
from gradcheck_lab.probes.support.steadiness import has_meaning, is_steady
from gradcheck_lab.probes.support.stress_causes import UNSELECTED_BRANCH, cause_of, is_flat_beside
from gradcheck_lab.probes.support.true_gradients import true_gradient


def values(context: Context) -> Iterator[Finding]:
    """Put stress values into the inputs, several kinds in one call; where that fails, find one kind and input that do."""
    if not context.derives:
        return
    yield from _masked_branches(context)
    yield from _ties_of_the_call(context)
    wide = wide_inputs(context, widest=True)
    given = cut_down(context, wide, STRESSED_ROWS.value, rows=STRESSED_ROWS.value)
    constants = context.subject.constants
    which = [i for i, v in enumerate(given) if can_be_stressed(v) and i not in constants]
    reported: set[tuple[str | None, str | None, str]] = set()
    excluded: set[tuple[str | None, str | None]] | None = None
    as_called = cut_down(context, wide, STRESSED_ROWS.value)
    others = [i for i, v in enumerate(as_called) if is_differentiable(v) and not v.is_complex() and i not in constants]
    specific = [(as_called, (stress,), [i]) for i in others if (stress := unseen_values(as_called[i])) is not None]
    rows = [i for i in which if _has_rows(context, i)]
    for_all = [(given, group, rows if group[0].entry else which) for group in GROUPS]
    for_all = [each for each in for_all if each[2]]
    bounds = beside_bounds(context)
    at_bounds = [(given, (bounds,), [i]) for i in which[: STRESSED_ALONE.value]] if bounds is not None else []
    calls = [*for_all, *at_bounds, *specific[: STRESSED_ALONE.value]]
    if not context.uses_autograd:  # large values, which take numbers longest and count least there, come last
        calls += [(given, (WIDER,), which)] if which else []
        calls.sort(key=lambda each: any(stress.large and stress is not WIDER for stress in each[1]))
    for inputs, group, changed in calls:
        for finding in _findings_for(context, inputs, group, changed):
            if excluded is None:
                excluded = _wrong_for_another_reason(context, given)
            key = (finding.op, finding.gradient, finding.cause)
            if key[:2] not in excluded and key not in reported and not _repeats_explained(finding, reported):
                reported.add(key)
                yield finding
    known = {key[:2] for key in reported}
    yield from (finding for finding in hidden_rows(context, wide) if (finding.op, finding.gradient) not in known)


def _wrong_for_another_reason(context: Context, given: tuple[Any, ...]) -> set[tuple[str | None, str | None]]:
    """The gradients that are wrong at ordinary values too, by op and name; not those of NaN or inf that smaller values lack.

    Sizes do not bring these about, and they are nobody's rounding: some of the ordinary values lie beyond the user's.
    """
    wrong = derived_errors_at(context, given)
    if not any(error.cause == "non-finite" for error in wrong):
        return {(error.op, error.gradient) for error in wrong}
    smaller = tuple(v.detach() * SMALLER_VALUES.value if is_differentiable(v) else v for v in given)
    still = {(error.op, error.gradient) for error in derived_errors_at(context, smaller)}
    kept = [e for e in wrong if e.cause != "non-finite" or (e.op, e.gradient) in still]
    return {(error.op, error.gradient) for error in kept}


def _has_rows(context: Context, index: int) -> bool:
    """Whether an input has as many rows as an output, as data and scores have, in which single large entries are usual."""
    outputs = [g for g in context.case.grad_outputs or () if g.ndim]
    shape = context.case.inputs[index].shape
    return not outputs or any(not g.shape[0] or g.shape[0] in shape for g in outputs)


def _masked_branches(context: Context) -> Iterator[Finding]:
    """Gradients of the user's call that are NaN or inf only where the forward did not select the branch that they come from."""
    masked = CAUSES["masked-branch"]
    for finding in context.findings:
        names = context.subject.names
        if finding.cause not in masked.compared_as or finding.op or finding.gradient not in names:
            continue
        index = names.index(finding.gradient)
        actual, truth = context.gradients[index], true_gradient(context.examined, index)
        if not isinstance(actual, torch.Tensor) or truth is None or actual.shape != truth.shape:
            continue
        broken = ~torch.isfinite(actual.detach()) & torch.isfinite(truth)
        if bool(broken.any()) and not bool(truth[broken].any()) and is_flat_beside(context.examined, index, broken):
            yield replace(finding, cause=masked.name, explanation=UNSELECTED_BRANCH, suggestion=masked.fix, probe="values")


def _ties_of_the_call(context: Context) -> Iterator[Finding]:
    """Gradients of the user's call that are subgradients one by one and, where values tie, not together."""
    if isinstance(context.examined.truth, NumericTruth):  # which know of ties there by themselves
        return
    as_given = DerivedCall(context.case, context.examined, ())
    yield from (replace(finding, probe="values") for finding in tie_mass(as_given, (EQUAL,), context.wrong_inputs, _is_real))


def _is_real(value: Any) -> bool:
    """Whether an input of the user's call has real elements; that they are zeros and ones does not make it a mask there."""
    return is_differentiable(value) and not value.is_complex() and bool(value.numel())


def _repeats_explained(finding: Finding, reported: set[tuple[str | None, str | None, str]]) -> bool:
    """Whether a finding says only where the gradient is wrong, and one with a cause has been reported for it."""
    vague = finding.cause in having("says_only_where")
    return vague and any((op, gradient) == (finding.op, finding.gradient) for op, gradient, _ in reported)


def _findings_for(context: Context, given: tuple[Any, ...], group: Sequence[Stress], which: Sequence[int]) -> Iterator[Finding]:
    derived = _examine_stressed(context, given, group, which, mixed=len(group) > 1)
    hidden = len(group) > 1 if derived is None else not derived.new_errors and _is_nan_throughout(derived)
    if len(which) > 1 and hidden:  # zeros in a divisor, or in a scale that all rows share, leave nothing to compare
        for i in which[: STRESSED_ALONE.value]:
            yield from _findings_for(context, given, group, [i])
        return
    if derived is not None:
        yield from (_located(context, each, group, which) for each in lost_in_float32(context, derived))
    if derived is None or not (derived.new_errors or tie_mass(derived, group, context.wrong_inputs)):
        return
    seen: set[tuple[str | None, str | None]] = set()
    wanted = {(new_error.op, new_error.gradient) for new_error in derived.new_errors}
    for stress, inputs in _narrower_conditions(group, which):
        if wanted and wanted <= seen:
            return
        narrowed = (
            derived if (stress,) == tuple(group) and inputs == which else _examine_stressed(context, given, (stress,), inputs)
        )
        if narrowed is None:
            continue
        found = (*narrowed.new_errors, *tie_mass(narrowed, (stress,), context.wrong_inputs))
        if found and not (is_steady(narrowed) if narrowed.new_errors else has_meaning(narrowed)):
            continue
        for new_error in found:
            if (new_error.op, new_error.gradient) not in seen and not repeated_index_text(narrowed, new_error):
                seen.add((new_error.op, new_error.gradient))
                yield _finding(context, given, narrowed, stress, new_error, inputs)
    if not seen and not any(stress.free or stress.entry for stress in group) and has_meaning(derived):
        for new_error in derived.new_errors:
            yield _finding(context, given, derived, group[0], new_error, which)


def _located(context: Context, finding: Finding, group: Sequence[Stress], which: Sequence[int]) -> Finding:
    condition = f"{' and '.join(stress.words for stress in group)} in {' and '.join(context.name(i) for i in which)}"
    return replace(finding, message=f"{finding.message}, with {condition}", probe="values", case=condition)


def _is_nan_throughout(derived: DerivedCall) -> bool:
    """Whether every row of some gradient holds a NaN, which the oracle gives too: no row of the call shows anything."""
    found = [g for g in derived.examined.returned if isinstance(g, torch.Tensor) and g.ndim and g.numel()]
    return any(bool(torch.isnan(g).any(-1).all()) for g in found)


def _narrower_conditions(group: Sequence[Stress], which: Sequence[int]) -> Iterator[tuple[Stress, list[int]]]:
    """Yield each kind of values, with each input by itself and then with all of them."""
    for stress in group:
        if len(which) > 1:
            for i in which[: STRESSED_ALONE.value]:
                yield stress, [i]
        # large entries in two factors of a product make values that no ordinary call has
        if len(which) == 1 or len(group) == 1 or not stress.large:
            yield stress, list(which)


def _examine_stressed(
    context: Context, given: tuple[Any, ...], group: Sequence[Stress], which: Sequence[int], mixed: bool = False
) -> DerivedCall | None:
    structures = context.once("structures", Structures)

    def draw(seed: int) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(seed)
        others = [
            similar_values(v, v.shape, generator, structures.of(v)) if is_differentiable(v) and v.numel() else v for v in given
        ]
        return stressed(others, group, which, Structures(), mixed)

    case = derived_case(context, inputs=stressed(given, group, which, structures, mixed))
    case = replace(case, label="; ".join(stress.words for stress in group))
    # values outside a domain, or that only an iteration with more steps gets to, say nothing of a forward
    ordinary = not any(stress.free or (stress.large and stress is not SPREAD) for stress in group)
    derived = examine_derived_call(context, case, draw=draw, forward="far apart" if ordinary else "overflows")
    if derived is None:
        return None
    if context.uses_autograd:
        return with_lost_derivatives(derived)
    if not any(stress.large for stress in group):
        return derived
    # an iteration, a series or a bound may end before such values, and numbers see what the forward is there
    gross = having("no_result") | {"non-finite"}
    beyond = group == (WIDER,)
    kept = [f for f in derived.new_errors if f.cause in gross or (beyond and _is_where_flat(derived, f))]
    return replace(derived, new_errors=tuple(kept))


def _is_where_flat(derived: DerivedCall, error: Finding) -> bool:
    """Whether a gradient is wrong only in elements that the forward does not depend on at all, as beyond the end of a table."""
    pair = derived.returned_and_true(error)
    if pair is None or not pair[1].numel():
        return False
    upstream = [g.detach() for g in derived.examined.case.grad_outputs or () if is_differentiable(g) and g.numel()]
    size = max([float(each.abs().max()) for each in (pair[1], *upstream)])
    wrong = (pair[0] - pair[1]).abs() > WRONG_ELEMENT.value * size
    return bool(wrong.any()) and not bool(pair[1][wrong].any())


def tie_mass(
    derived: DerivedCall,
    group: Sequence[Stress],
    wrong: frozenset[int] = frozenset(),
    can_tie: Callable[[Any], bool] = can_be_stressed,
) -> tuple[Finding, ...]:
    """The finding that gradients of tied values have the wrong sum, if they have.

    Each of them may be any subgradient, but the derivative along all tied values together is unique. Inputs in `wrong` are
    known to have a wrong gradient and are left out, as are those that `can_tie` denies.
    """
    subject = derived.examined.subject
    if isinstance(derived.examined.truth, NumericTruth):
        return ()
    sound = {subject.names[i] for i in range(len(derived.inputs)) if i not in wrong}
    suspects = CAUSES["tie-mass"].compared_as
    doubtful = [f for f in derived.examined.findings if f.gradient in sound and not f.op and f.cause in suspects]
    if tuple(group) not in ((EQUAL,), (TIES,)) or not doubtful or derived.new_errors:
        return ()
    gradient, oracle = str(doubtful[0].gradient), derived.examined.oracle
    pairs = {
        i: pair for i, value in enumerate(derived.inputs)
        if can_tie(value)
        and (pair := derived.returned_and_true(replace(doubtful[0], gradient=subject.names[i]))) is not None
        and bool(torch.isfinite(pair[0]).all())
    }  # fmt: skip
    if not any(not pair[1].is_complex() and kinked(oracle, i) for i, pair in pairs.items()):
        return ()
    dtype = next(v.dtype for v in derived.inputs if can_tie(v))
    # terms that cancel may be as large as the upstream
    size = sum(float(g.double().abs().sum()) for g in derived.examined.case.grad_outputs or () if is_differentiable(g))
    size += sum(float(side.double().abs().sum()) for pair in pairs.values() for side in pair)
    sums = unconserved(oracle, derived.inputs, pairs, TIED_ROUNDINGS.value * unit_roundoff(dtype) * size)
    return () if sums is None else (unconserved_mass(subject.labels[subject.names.index(gradient)], gradient, *sums),)


def _finding(
    context: Context, given: tuple[Any, ...], derived: DerivedCall, stress: Stress, new_error: Finding, which: Sequence[int]
) -> Finding:
    def rerun(milder: Stress) -> DerivedCall | None:
        return _examine_stressed(context, given, (milder,), which)

    cause, why = cause_of(derived, stress, new_error, rerun)
    names = " and ".join(context.name(i) for i in which)
    condition = f"{stress.words} in {names}"
    at = _worst_place(derived, new_error)
    return replace(
        new_error,
        cause=cause,
        severity="note" if new_error.exception in SINGULAR else "error",  # refusing a singular matrix is right
        message=f"{new_error.message}, with {condition}",
        explanation=f"right on the values given, wrong with {condition}{at}: {why or new_error.explanation}",
        suggestion=CAUSES[cause].fix if cause in having("at_values") else new_error.suggestion,
        probe="values",
        case=condition,
    )


def _worst_place(derived: DerivedCall, new_error: Finding) -> str:
    pair, index = derived.returned_and_true(new_error), derived.input_index(new_error)
    if pair is None or index is None or not pair[1].numel():
        return ""
    actual, truth = pair[0].double(), pair[1].double()
    error = (actual - truth).abs().nan_to_num(float("inf"), float("inf"))
    error[~torch.isfinite(truth)] = 0
    at = tuple(int(k) for k in torch.unravel_index(error.argmax(), error.shape))
    value = derived.inputs[index][at]
    return f" (first at {list(at)}, where {derived.examined.subject.names[index]} is {show(number(value))})"
