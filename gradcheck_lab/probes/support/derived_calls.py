"""Calls derived from the user's, with other shapes, values or dtypes: how they are examined, and which errors count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import Case, copy_inputs, is_differentiable
from gradcheck_lab.calls.drawn_again import Draw, drawn_again, of_one_kind
from gradcheck_lab.calls.randomness import draws_random
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.comparison.forwards import are_far_apart, overflows_alone
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import bits, is_wide
from gradcheck_lab.model.precision.derived_calls import INFINITY_IN_WORDS, WRONG_ELEMENT
from gradcheck_lab.probes.support.acceptable_errors import is_acceptable, may_be_rounding
from gradcheck_lab.probes.support.context import REFUSED, Context, examine_if_valid
from gradcheck_lab.probes.support.true_gradients import true_gradient
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.subjects.subject import Subject

# when a forward that is not the reference's is an error: at any difference, at a gross one, or where it alone is not finite
Forwards = Literal["differs", "far apart", "overflows"]


@dataclass(frozen=True, slots=True)
class DerivedCall:
    """A derived case that the user's forward takes: its examination, and the errors that the user's own call did not have."""

    case: Case
    examined: Examined
    new_errors: tuple[Finding, ...]

    @property
    def inputs(self) -> tuple[Any, ...]:
        return self.case.inputs

    def input_index(self, finding: Finding) -> int | None:
        """The index of the input whose gradient a finding is about; None for one of an op within a program."""
        names = self.examined.subject.names
        return names.index(finding.gradient) if finding.gradient in names and not finding.op else None

    def returned_and_true(self, finding: Finding) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The gradient that the backward returned and the true one; None where either is missing or their shapes differ."""
        index = self.input_index(finding)
        if index is None or index >= len(self.examined.returned):
            return None
        actual, truth = self.examined.returned[index], true_gradient(self.examined, index)
        if not isinstance(actual, torch.Tensor) or truth is None or actual.shape != truth.shape:
            return None
        unknown = torch.isnan(truth) & torch.isfinite(actual)  # no derivative there, as at a kink
        return actual.detach(), torch.where(unknown, actual.detach().to(truth), truth)

    def is_missing(self, finding: Finding) -> bool:
        """Whether the backward returned None for the gradient, with which code goes on as with zeros."""
        index = self.input_index(finding)
        return index is not None and index < len(self.examined.returned) and self.examined.returned[index] is None

    def is_known(self, finding: Finding) -> bool:
        """Whether the true gradient of every element is known, or whether there is none to know."""
        return finding.measured is None or self.returned_and_true(finding) is not None

    def budget_used(self, finding: Finding, dtype: torch.dtype) -> float:
        """How many times its budget a gradient is off, by all references of a dtype; infinite where it is no such gradient."""
        pair, index = self.returned_and_true(finding), self.input_index(finding)
        if pair is None or index is None or pair[0].dtype != dtype:
            return math.inf
        oracle = self.examined.oracle
        passes = [*oracle.references("native", dtype), *oracle.references("simulated", dtype)]
        found = [grad for each in passes for key, grad in each.gradients.items() if key[:2] == ("input", index)]
        return judge(*pair, dtype, [grad.detach() for grad in found if grad is not None]).budget_used


@dataclass(frozen=True, slots=True)
class DerivedCallExaminer:
    """Examines cases derived from the user's call, and tells errors that are new from those that the call itself has.

    `user_inputs` are those of the call, `known_wrong` its wrong gradients, by op and name. Gradients of the inputs in `skip`
    are not compared. With `by_numbers` a numeric oracle decides, as it did on the call itself.
    """

    runner: Runner
    user_inputs: tuple[Any, ...]
    has_reference: bool = False
    skip: frozenset[int] = frozenset()
    known_wrong: frozenset[tuple[str | None, str | None]] = frozenset()
    by_numbers: bool = False

    def examine(
        self, case: Case, dtype_differs: bool = False, numeric: bool = False, forward: Forwards = "overflows"
    ) -> DerivedCall | None:
        """Examine a derived case; None where the forward does not take it, or gives values that are not finite.

        Set `dtype_differs` where the dtype is what the case changes: only then do errors of dtype count. With `numeric` a
        numeric oracle decides where autograd cannot, which is slow. `forward` says when it is an error that the forward is not
        that of the user's reference.
        """
        subject = self.runner.subject
        not_compared = subject.constants | self.skip
        if not any(is_differentiable(v) and i not in not_compared for i, v in enumerate(case.inputs)):
            return None
        if case.grad_outputs is not None:
            case = replace(case, grad_outputs=None)
        if not is_valid(subject, case):
            self.runner.evaluations.derived[REFUSED] += 1
            return None
        try:
            closely = dtype_differs and all(is_wide(v.dtype) for v in case.inputs if is_differentiable(v))
            found = examine_if_valid(self.runner, case, self.has_reference, numeric, self.skip, self.by_numbers, closely)
            fresh = self._new_errors(found, dtype_differs, forward) if found is not None else ()
        except Exception:  # the user did not make this call: where the oracle raises, it shows nothing
            return None
        if found is None or any(f.stage == "forward" for f in found.findings):
            return None
        finite = not fresh or (self._is_forward_finite(case) and _has_finite_intermediates(found))
        if not finite and not any(f.cause in having("forward") for f in fresh):
            return None
        return DerivedCall(case, found, fresh) if found.comparisons or fresh else None

    def _new_errors(self, found: Examined, dtype_differs: bool, forward: Forwards) -> tuple[Finding, ...]:
        """The errors that the user's own call did not have and that are evidence of a mistake in the gradient."""
        errors = [f for f in found.findings if f.severity == "error" and f.cause not in having("whole_call")]
        differs = [f for f in found.findings if f.cause in having("forward")]
        if differs and self._is_another_forward(found, forward):
            errors += differs
        if not errors:
            return ()
        narrow = any(is_differentiable(v) and not is_wide(v.dtype) for v in found.case.inputs)
        if narrow and draws_random(found.case.seed):
            return ()  # the oracle, in float64, drew other random numbers
        pairs = zip(found.case.inputs, self.user_inputs, strict=True)
        widened = any(is_differentiable(v) and v.dtype != given.dtype for v, given in pairs)
        dtype_only = having("dtype") if widened and not dtype_differs else frozenset()
        return tuple(
            f for f in errors
            if (f.op, f.gradient) not in self.known_wrong
            and f.cause not in dtype_only
            and not (widened and not dtype_differs and f.cause in having("no_result") and self.is_raised_by_dtype(found, f))
            and not may_be_rounding(found, f)
            and not is_acceptable(found, f, dtype_differs)
        )  # fmt: skip

    def is_raised_by_dtype(self, found: Examined, new_error: Finding) -> bool:
        """Whether code that raises on a derived call runs when the same values have the dtypes of the user's inputs."""
        pairs = zip(found.case.inputs, self.user_inputs, strict=True)
        own = tuple(v.to(given.dtype) if is_differentiable(v) else v for v, given in pairs)
        case = replace(found.case, inputs=own, grad_outputs=None)
        again = examine_if_valid(self.runner, case, self.has_reference, False, self.skip, self.by_numbers)
        raised = {(f.stage, f.op) for f in again.findings if f.cause in having("no_result")} if again is not None else set()
        return again is not None and not raised & {("forward", None), (new_error.stage, new_error.op)}

    def _is_another_forward(self, found: Examined, forward: Forwards) -> bool:
        """Whether it shows a mistake that the forward is not the user's reference: in any case where it alone is not finite."""
        if forward == "differs" and self._is_forward_finite(found.case):
            return True
        outputs = self.runner.record(copy_inputs(found.case.inputs), found.case).outputs
        truth = found.oracle.truth()
        return (forward == "far apart" and are_far_apart(outputs, truth)) or overflows_alone(outputs, truth, found.oracle)

    def _is_forward_finite(self, case: Case) -> bool:
        try:
            recording = self.runner.record(copy_inputs(case.inputs), case)
        except Exception:
            return False
        # losses use 1e30 and the like to stand for infinity
        return all(bool((o.abs() < INFINITY_IN_WORDS.value).all()) for o in recording.outputs if is_differentiable(o))


def examine_derived_call(
    context: Context,
    case: Case,
    dtype_differs: bool = False,
    numeric: bool = False,
    forward: Forwards = "overflows",
    draw: Draw | None = None,
) -> DerivedCall | None:
    """Examine a case derived from the base case; see `DerivedCallExaminer.examine`.

    A wrong value counts only if an independent draw of such a case shows it too: with other upstream gradients and random
    numbers, and with the inputs that `draw` makes from another seed.
    """
    examiner = derived_call_examiner(context)

    def examined(case: Case) -> DerivedCall | None:
        return examiner.examine(case, dtype_differs, numeric, forward)

    derived = examined(case)
    if derived is None or all(error.cause in having("no_result") for error in derived.new_errors):
        return derived
    seen: list[set[tuple[str | None, str | None]]] = []
    for other in drawn_again(case, of_one_kind(draw)):
        again = examined(other)
        if again is not None:
            seen.append({(error.op, error.gradient) for error in again.new_errors})
    if not seen:  # no other such call can be made
        return derived
    again_wrong = set().union(*seen)
    stands = [e for e in derived.new_errors if e.cause in having("no_result") or (e.op, e.gradient) in again_wrong]
    return replace(derived, new_errors=tuple(stands))


def derived_call_examiner(context: Context) -> DerivedCallExaminer:
    """Return the examiner of cases derived from the base case."""
    known_wrong = context.once("known wrong", lambda: _known_wrong(context))
    return DerivedCallExaminer(
        context.runner,
        context.case.inputs,
        context.has_reference,
        context.skip_on_derived_calls,
        known_wrong,
        not context.uses_autograd,
    )


def derived_case(context: Context, **changes: Any) -> Case:
    """The base case with some fields replaced, and new upstream gradients, drawn at random, that fit its outputs."""
    return replace(context.case, **{"grad_outputs": None, **changes})


def wide_inputs(context: Context, widest: bool = False) -> tuple[Any, ...]:
    """The inputs in float32 where they have 16 bits, if the forward takes that: rounding then hides less.

    With `widest` they are in float64, which also saves a second run of an op's rule.
    """
    given = context.case.inputs
    widths = [bits(v.dtype) for v in given if is_differentiable(v) and not v.is_complex()]
    goals = [torch.float64] if widest and not context.subject.keeps_last_call and min(widths, default=64) < 64 else []
    goals += [torch.float32] if min(widths, default=64) < 32 else []
    for goal in goals:
        wide = tuple(_widened(v, goal) for v in given)
        recording = context.record(replace(context.case, inputs=wide))
        if not isinstance(recording, Exception) and not narrows(recording.outputs, goal):
            return wide
    return given


def narrows(outputs: Sequence[Any], dtype: torch.dtype) -> bool:
    """Whether a forward on inputs of a dtype gave narrower outputs only, as one that is built for a dtype of its own does."""
    found = [bits(o.dtype) for o in outputs if is_differentiable(o) and o.is_complex() == dtype.is_complex]
    return bool(found) and max(found) < bits(dtype)


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


def is_valid(subject: Subject, case: Case) -> bool:
    """Whether the specs and validators of an op accept the case; True for other subjects."""
    op = subject.op
    if op is None:
        return True
    try:
        op.validate(case.inputs, dict(case.options))
    except InvalidArgument:
        return False
    except Exception:  # a validator need not be written for derived calls
        return False
    return True


def _has_finite_intermediates(found: Examined) -> bool:
    """Whether every intermediate of a program is finite: ops that receive an infinite one are not to blame for what follows."""
    calls = found.run.calls if found.run is not None else ()
    values = [o for call in calls for o in call.outputs if is_differentiable(o)]
    return all(bool(torch.isfinite(value.detach()).all()) for value in values)


def _known_wrong(context: Context) -> frozenset[tuple[str | None, str | None]]:
    known = {(f.op, f.gradient) for f in context.findings if f.severity == "error"}
    return frozenset(known | {(None, context.name(i)) for i in context.wrong_inputs})


def wrong_gradients_at(context: Context, given: tuple[Any, ...]) -> set[tuple[str | None, str | None]]:
    """The gradients, by op and name, that are wrong at these inputs; none for the user's own."""
    return {(error.op, error.gradient) for error in derived_errors_at(context, given)}


def derived_errors_at(context: Context, given: tuple[Any, ...]) -> tuple[Finding, ...]:
    """The errors of the call with these inputs; none for the user's own."""
    if all(a is b for a, b in zip(given, context.case.inputs, strict=True)):
        return ()
    derived = examine_derived_call(context, derived_case(context, inputs=given))
    return () if derived is None else derived.new_errors


def repeated_index_text(derived: DerivedCall, new_error: Finding) -> str:
    """Say that only rows are wrong whose index an integer input holds more than once; empty where that is not so."""
    pair = derived.returned_and_true(new_error)
    if pair is None or not pair[1].ndim:
        return ""
    wrong = ~((pair[0] - pair[1]).abs() <= WRONG_ELEMENT.value * pair[1].abs().amax())
    for value in derived.inputs:
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
