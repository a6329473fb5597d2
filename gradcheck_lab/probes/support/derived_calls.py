"""Calls derived from the user's: inputs of other shapes and values, with the structure of the given ones."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, is_differentiable
from gradcheck_lab.calls.randomness import draws_random
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import bits, is_wide
from gradcheck_lab.model.precision.derived_calls import INFINITY_IN_WORDS, WRONG_ELEMENT
from gradcheck_lab.probes.support.context import Context, examine_derived
from gradcheck_lab.probes.support.excuses import excused, marginal, truth_of
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Subject


@dataclass(frozen=True, slots=True)
class Trial:
    """A derived case that the user's forward takes: its examination, and the errors that the user's call did not show."""

    case: Case
    examined: Examined
    problems: tuple[Finding, ...]

    @property
    def inputs(self) -> tuple[Any, ...]:
        return self.case.inputs

    def index(self, finding: Finding) -> int | None:
        """Which input a finding is about; None for an op within a program."""
        names = self.examined.subject.names
        return names.index(finding.gradient) if finding.gradient in names and not finding.op else None

    def pair(self, finding: Finding) -> tuple[torch.Tensor, torch.Tensor] | None:
        """What the backward returned and the truth; None where they cannot be laid side by side."""
        index = self.index(finding)
        if index is None or index >= len(self.examined.returned):
            return None
        actual, truth = self.examined.returned[index], truth_of(self.examined, index)
        if not isinstance(actual, torch.Tensor) or truth is None or actual.shape != truth.shape:
            return None
        return actual.detach(), truth


@dataclass(frozen=True, slots=True)
class Attempt:
    """How derived cases are tried: against what the user's own call showed already.

    `settled` are inputs that need no judging, `known` the gradients that are wrong on the user's call, by op and name, and
    `given` its inputs.
    """

    runner: Runner
    given: tuple[Any, ...]
    has_reference: bool = False
    settled: frozenset[int] = frozenset()
    known: frozenset[tuple[str | None, str | None]] = frozenset()

    def on(self, case: Case, lane: bool = False, numeric: bool = False) -> Trial | None:
        """Examine a derived case; None where the forward does not take it, or gives values that are not finite.

        `lane` is set where the case differs in its dtype, which then is what the problems are about; with `numeric` numbers
        decide where autograd cannot, at a price that only a single call is worth.
        """
        subject = self.runner.subject
        fixed = subject.constants | self.settled
        if not any(is_differentiable(v) and i not in fixed for i, v in enumerate(case.inputs)):
            return None
        case = replace(case, grad_outputs=None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not valid(subject, case):
                return None
            try:
                found = examine_derived(self.runner, case, self.has_reference, numeric, self.settled)
                fresh = self._fresh(found, lane) if found is not None else ()
            except Exception:  # the call is our idea: where the oracle cannot follow it, it shows nothing
                return None
            if found is None or any(f.stage == "forward" for f in found.findings):
                return None
            if fresh and not (self._finite_forward(case) and _finite_inside(found)):
                return None
        return Trial(case, found, fresh) if found.comparisons or fresh else None

    def _fresh(self, found: Examined, lane: bool) -> tuple[Finding, ...]:
        """The errors that the user's own call did not show and that say something about the gradient."""
        errors = [f for f in found.findings if f.severity == "error" and f.cause not in having("whole_call")]
        if not errors:
            return ()
        narrow = any(is_differentiable(v) and not is_wide(v.dtype) for v in found.case.inputs)
        if narrow and draws_random(found.case.seed):
            return ()  # the float64 oracle drew other numbers
        pairs = zip(found.case.inputs, self.given, strict=True)
        widened = any(is_differentiable(v) and v.dtype != given.dtype for v, given in pairs)
        dtype_only = having("dtype") if widened and not lane else frozenset()
        return tuple(
            f for f in errors
            if (f.op, f.gradient) not in self.known
            and f.cause not in dtype_only
            and not (widened and not lane and f.cause in having("no_result") and self.raised_by_dtype(found, f))
            and not marginal(found, f)
            and not excused(found, f)
        )  # fmt: skip

    def raised_by_dtype(self, found: Examined, problem: Finding) -> bool:
        """Whether code that raises on a derived call runs when the same values have the dtypes that the user gave."""
        pairs = zip(found.case.inputs, self.given, strict=True)
        own = tuple(v.to(given.dtype) if is_differentiable(v) else v for v, given in pairs)
        case = replace(found.case, inputs=own, grad_outputs=None)
        again = examine_derived(self.runner, case, self.has_reference, numeric=False, skip=self.settled)
        raised = {(f.stage, f.op) for f in again.findings if f.cause in having("no_result")} if again is not None else set()
        return again is not None and not raised & {("forward", None), (problem.stage, problem.op)}

    def _finite_forward(self, case: Case) -> bool:
        try:
            recording = self.runner.record(copy_inputs(case.inputs), case)
        except Exception:
            return False
        # 1e30 is how losses say that something cannot be
        return all(bool((o.abs() < INFINITY_IN_WORDS.value).all()) for o in recording.outputs if is_differentiable(o))


def attempt(context: Context, case: Case, lane: bool = False, numeric: bool = False) -> Trial | None:
    """Examine a case derived from the context's; see `Attempt.on`."""
    return trying(context).on(case, lane, numeric)


def trying(context: Context) -> Attempt:
    """How cases derived from the context's are tried."""
    known = context.once("known mistakes", lambda: _known(context))
    return Attempt(context.runner, context.case.inputs, context.has_reference, context.settled, known)


def blank(context: Context, **changes: Any) -> Case:
    """The base case without its upstream gradients, which are drawn anew to fit."""
    return replace(context.case, **{"grad_outputs": None, **changes})


def wide_inputs(context: Context, widest: bool = False) -> tuple[Any, ...]:
    """The inputs in float32 where they have 16 bits: other sizes and values are judged where rounding hides nothing.

    `widest` takes them to float64, which also saves a second run of an op's rule.
    """
    given = context.case.inputs
    narrow = [bits(v.dtype) for v in given if is_differentiable(v) and not v.is_complex()]
    goals = [torch.float64] if widest and not context.subject.keeps_last_call and min(narrow, default=64) < 64 else []
    goals += [torch.float32] if min(narrow, default=64) < 32 else []
    for goal in goals:
        wide = tuple(_widened(v, goal) for v in given)
        if not isinstance(context.record(replace(context.case, inputs=wide)), Exception):
            return wide
    return given


def _widened(value: Any, goal: torch.dtype) -> Any:
    narrower = is_differentiable(value) and not value.is_complex() and bits(value.dtype) < bits(goal)
    return value.to(goal) if narrower else value


def shapes_text(context: Context, inputs: Sequence[Any], only: Sequence[int] | None = None) -> str:
    """`x (4, 3), weight (5, 3)`."""
    return ", ".join(
        f"{context.name(i)} {tuple(v.shape)}"
        for i, v in enumerate(inputs)
        if isinstance(v, torch.Tensor) and (only is None or i in only)
    )


def valid(subject: Subject, case: Case) -> bool:
    """Whether an op's own specs and validators let the case through."""
    op = subject.op
    if op is None:
        return True
    try:
        op.validate(case.inputs, dict(case.options))
    except InvalidArgument:
        return False
    except Exception:  # a validator that was not written for this is no reason to crash
        return False
    return True


def _finite_inside(found: Examined) -> bool:
    """Whether every intermediate of a program is finite: what an infinite one does to the ops after it is no op's mistake."""
    calls = found.oracle.truth().calls if found.subject.is_program else ()
    values = [o for call in calls for o in call.outputs if is_differentiable(o)]
    return all(bool(torch.isfinite(value.detach()).all()) for value in values)


def _known(context: Context) -> frozenset[tuple[str | None, str | None]]:
    known = {(f.op, f.gradient) for f in context.findings if f.severity == "error"}
    return frozenset(known | {(None, context.name(i)) for i in context.wrong})


def already_wrong(context: Context, given: tuple[Any, ...]) -> set[tuple[str | None, str | None]]:
    """The gradients that are wrong on these inputs without anything further being changed."""
    if all(a is b for a, b in zip(given, context.case.inputs, strict=True)):
        return set()
    trial = attempt(context, blank(context, inputs=given))
    return set() if trial is None else {(f.op, f.gradient) for f in trial.problems}


def repeated_rows(trial: Trial, problem: Finding) -> str:
    """Whether the wrong rows are only those that an integer input hits more than once; the sentence, with how often."""
    pair = trial.pair(problem)
    if pair is None or not pair[1].ndim:
        return ""
    wrong = ~((pair[0] - pair[1]).abs() <= WRONG_ELEMENT.value * pair[1].abs().amax())
    for value in trial.inputs:
        if not holds_integers(value):
            continue
        hits = torch.bincount(value.reshape(-1).clamp(min=0).long().cpu())
        for axis in range(wrong.ndim):
            if wrong.shape[axis] < hits.numel():
                continue
            rows = wrong.movedim(axis, 0).reshape(wrong.shape[axis], -1).any(1).nonzero().reshape(-1).tolist()
            if rows and all(row < hits.numel() and int(hits[row]) > 1 for row in rows):
                row = rows[0]
                return f"along axis {axis} only the rows hit more than once are wrong; row {row} is hit {int(hits[row])} times"
    return ""


def holds_integers(value: Any) -> bool:
    """Whether an input holds several integers: indices, labels."""
    if not isinstance(value, torch.Tensor) or is_differentiable(value) or value.dtype == torch.bool:
        return False
    return value.numel() > 1
