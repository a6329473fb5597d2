"""The gradient is right at the values where formulas break: zeros, ties, bounds, large, tiny, constant and saturated rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.stress import EQUAL, GROUPS, TIES, Stress, about, can_be_stressed, stressed, unseen_values
from gradcheck_lab.comparison.findings import number, show
from gradcheck_lab.model.amounts import STEADY_DISTANCE
from gradcheck_lab.model.causes import CAUSES, having
from gradcheck_lab.model.exceptions import SINGULAR
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import STRESSED_ALONE, STRESSED_ROWS
from gradcheck_lab.model.precision import unit_roundoff
from gradcheck_lab.model.precision.derived_calls import TIED_ROUNDINGS
from gradcheck_lab.model.precision.kinks import SETTLED
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.cut_down import cut_down
from gradcheck_lab.probes.support.derived_calls import Trial, already_wrong, attempt, blank, repeated_rows, wide_inputs
from gradcheck_lab.probes.support.kinks import kinked, unconserved
from gradcheck_lab.probes.support.singular import UNSELECTED, cause_of, flat_there
from gradcheck_lab.subjects.subject import Key


def values(context: Context) -> Iterator[Finding]:
    """Try stress values on all inputs together and one at a time, several kinds in one call; narrow down where it fails."""
    if not context.analytic:
        return
    yield from _masked(context)
    wide = wide_inputs(context, widest=True)
    given = cut_down(context, wide, STRESSED_ROWS.value, rows=STRESSED_ROWS.value)
    constants = context.subject.constants
    which = [i for i, v in enumerate(given) if can_be_stressed(v) and i not in constants]
    reported: set[tuple[str | None, str | None, str]] = set()
    excluded: set[tuple[str | None, str | None]] | None = None
    as_called = cut_down(context, wide, STRESSED_ROWS.value)
    others = [i for i, v in enumerate(as_called) if is_differentiable(v) and not v.is_complex() and i not in constants]
    own = [(as_called, (stress,), [i]) for i in others if (stress := unseen_values(as_called[i])) is not None]
    rows = [i for i in which if _carries_rows(context, i)]
    general = [(given, group, rows if group[0].entry else which) for group in GROUPS]
    general = [each for each in general if each[2]]
    for inputs, group, changed in (*general, *own[: STRESSED_ALONE.value]):
        for finding in _tried(context, inputs, group, changed):
            if excluded is None:
                excluded = already_wrong(context, given)
            key = (finding.op, finding.gradient, finding.cause)
            if key[:2] not in excluded and key not in reported and not _implied(finding, reported):
                reported.add(key)
                yield finding


def _carries_rows(context: Context, index: int) -> bool:
    """Whether an input has the rows of an output: data and scores hold single large entries, and weights do not."""
    outputs = [g for g in context.case.grad_outputs or () if g.ndim]
    shape = context.case.inputs[index].shape
    return not outputs or any(not g.shape[0] or g.shape[0] in shape for g in outputs)


def _masked(context: Context) -> Iterator[Finding]:
    """NaN or inf on the call as given, where the forward did not select the branch that it comes from."""
    masked = CAUSES["masked-branch"]
    for finding in context.findings:
        names = context.subject.names
        if finding.cause not in masked.compared_as or finding.op or finding.gradient not in names:
            continue
        index = names.index(finding.gradient)
        actual, truth = context.gradients[index], context.oracle.truth().gradients.get(Key("input", index))
        if not isinstance(actual, torch.Tensor) or truth is None or actual.shape != truth.shape:
            continue
        broken = ~torch.isfinite(actual.detach()) & torch.isfinite(truth)
        if bool(broken.any()) and not bool(truth[broken].any()) and flat_there(context.examined, index, broken):
            yield replace(finding, cause=masked.name, explanation=UNSELECTED, suggestion=masked.fix, probe="values")


def _implied(finding: Finding, reported: set[tuple[str | None, str | None, str]]) -> bool:
    """Whether a vague cause repeats what a finding on the same gradient already explains."""
    vague = finding.cause in having("says_only_where")
    return vague and any((op, gradient) == (finding.op, finding.gradient) for op, gradient, _ in reported)


def _tried(context: Context, given: tuple[Any, ...], group: Sequence[Stress], which: Sequence[int]) -> Iterator[Finding]:
    trial = _attempt(context, given, group, which, mixed=len(group) > 1)
    if trial is None or not (trial.problems or tie_mass(trial, group, context.wrong)):
        return
    seen: set[tuple[str | None, str | None]] = set()
    wanted = {(problem.op, problem.gradient) for problem in trial.problems}
    for stress, inputs in _narrower(group, which):
        if wanted and wanted <= seen:
            return
        narrow = trial if (stress,) == tuple(group) and inputs == which else _attempt(context, given, (stress,), inputs)
        if narrow is None:
            continue
        if narrow.problems and not steady(narrow):
            continue
        for problem in (*narrow.problems, *tie_mass(narrow, (stress,), context.wrong)):
            if (problem.op, problem.gradient) not in seen and not repeated_rows(narrow, problem):
                seen.add((problem.op, problem.gradient))
                yield _finding(context, given, narrow, stress, problem, inputs)
    if not seen and not any(stress.free or stress.entry for stress in group):
        for problem in trial.problems:
            yield _finding(context, given, trial, group[0], problem, which)


def steady(trial: Trial) -> bool:
    """Whether the derivative is the same just beside the values; outside its domain a forward may be finite and chaotic."""
    oracle = trial.examined.oracle
    beside = tuple(v.detach() * (1 + STEADY_DISTANCE.value) if is_differentiable(v) else v for v in oracle.case.inputs)
    moved = oracle.run(torch.float64, case=replace(oracle.case, inputs=beside)).gradients
    for key, here in oracle.truth().gradients.items():
        there = moved.get(key)
        if here is None or there is None:
            continue
        change, size = (float(torch.linalg.vector_norm(value)) for value in (there - here, here))
        if not change <= SETTLED.value * size:
            return False
    return True


def _narrower(group: Sequence[Stress], which: Sequence[int]) -> Iterator[tuple[Stress, list[int]]]:
    """One kind of values on one input, then on all of them: the smallest condition first."""
    for stress in group:
        if len(which) > 1:
            for i in which[: STRESSED_ALONE.value]:
                yield stress, [i]
        # one large entry in each of two factors makes products that are no ordinary values
        if len(which) == 1 or len(group) == 1 or not stress.large:
            yield stress, list(which)


def _attempt(
    context: Context, given: tuple[Any, ...], group: Sequence[Stress], which: Sequence[int], mixed: bool = False
) -> Trial | None:
    inputs = stressed(given, group, which, mixed)
    label = "; ".join(stress.words for stress in group)
    return attempt(context, blank(context, inputs=inputs, label=label))


def tie_mass(trial: Trial, group: Sequence[Stress], wrong: frozenset[int] = frozenset()) -> tuple[Finding, ...]:
    """At a tie each share may vary within its interval, but moving all tied values together has one derivative.

    Inputs in `wrong` are known to be so.
    """
    subject = trial.examined.subject
    sound = {subject.names[i] for i in range(len(trial.inputs)) if i not in wrong}
    suspects = CAUSES["tie-mass"].compared_as
    doubtful = [f for f in trial.examined.findings if f.gradient in sound and not f.op and f.cause in suspects]
    if tuple(group) not in ((EQUAL,), (TIES,)) or not doubtful or trial.problems:
        return ()
    gradient, oracle = str(doubtful[0].gradient), trial.examined.oracle
    pairs = {
        i: pair for i, value in enumerate(trial.inputs)
        if can_be_stressed(value) and (pair := trial.pair(replace(doubtful[0], gradient=subject.names[i]))) is not None
        and bool(torch.isfinite(pair[0]).all())
    }  # fmt: skip
    if not any(not pair[1].is_complex() and kinked(oracle, i) for i, pair in pairs.items()):
        return ()
    dtype = next(v.dtype for v in trial.inputs if can_be_stressed(v))
    # terms that cancel are as large as the upstream times the inputs
    size = sum(float(g.double().abs().sum()) for g in trial.examined.case.grad_outputs or () if is_differentiable(g))
    size += sum(float(side.double().abs().sum()) for pair in pairs.values() for side in pair)
    sums = unconserved(oracle, trial.inputs, pairs, TIED_ROUNDINGS.value * unit_roundoff(dtype) * size)
    if sums is None:
        return ()
    actual, wanted = sums
    label = subject.labels[subject.names.index(gradient)]
    message = f"gradient of {label} does not conserve the mass of its ties"
    why = f"its elements sum to {show(actual)} where the derivative along all of them is {show(wanted)}"
    return (Finding("tie-mass", "error", message, gradient, why, CAUSES["tie-mass"].fix, measured=abs(actual - wanted)),)


def _finding(
    context: Context, given: tuple[Any, ...], trial: Trial, stress: Stress, problem: Finding, which: Sequence[int]
) -> Finding:
    def rerun(scale: float) -> Trial | None:
        return _attempt(context, given, (about(scale),), which)

    cause, why = cause_of(trial, stress, problem, rerun)
    names = " and ".join(context.name(i) for i in which)
    condition = f"{stress.words} in {names}"
    at = _where(trial, problem)
    return replace(
        problem,
        cause=cause,
        severity="note" if problem.exception in SINGULAR else "error",  # an honest refusal of a singular matrix
        message=f"{problem.message}, with {condition}",
        explanation=f"right on the values given, wrong with {condition}{at}: {why or problem.explanation}",
        suggestion=CAUSES[cause].fix if cause in having("at_values") else problem.suggestion,
        probe="values",
        case=condition,
    )


def _where(trial: Trial, problem: Finding) -> str:
    pair, index = trial.pair(problem), trial.index(problem)
    if pair is None or index is None or not pair[1].numel():
        return ""
    actual, truth = pair[0].double(), pair[1].double()
    error = (actual - truth).abs().nan_to_num(float("inf"), float("inf"))
    error[~torch.isfinite(truth)] = 0
    at = tuple(int(k) for k in torch.unravel_index(error.argmax(), error.shape))
    value = trial.inputs[index][at]
    return f" (first at {list(at)}, where {trial.examined.subject.names[index]} is {show(number(value))})"
