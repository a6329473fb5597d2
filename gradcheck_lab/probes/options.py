"""The gradient is right for other values of the forward's options, which the code names: one at a time, and in pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from gradcheck_lab.model.amounts import LARGE_OPTION
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import LANE_ELEMENTS, OPTION_CHANGES, OPTION_CHANGES_IN_CODE
from gradcheck_lab.probes.support.changed_options import ChangedOptions, changed_options
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.cut_down import cut_down
from gradcheck_lab.probes.support.derived_calls import DerivedCall, examine_derived_call, wide_inputs
from gradcheck_lab.probes.support.option_changes import option_changes
from gradcheck_lab.probes.support.rest_of_windows import is_right_without_rest
from gradcheck_lab.probes.support.training_flags import is_training_flag, meant_for


def options(context: Context) -> Iterator[Finding]:
    """Change each option that the call passed or that has a default, where the forward accepts the change."""
    if not context.derives:
        return
    reported: set[str | None] = set()
    given: tuple[Any, ...] = ()
    left = {True: OPTION_CHANGES_IN_CODE.value, False: OPTION_CHANGES.value}
    for change in option_changes(context):
        given = given or cut_down(context, wide_inputs(context), LANE_ELEMENTS.value)
        if not given:
            return
        changed = changed_options(context, given, change) if left[change.in_code] else None
        if changed is None or (not context.uses_autograd and _ends_sooner(changed)):
            continue
        with changed.on_object(change.values):
            derived = examine_derived_call(changed.context, changed.case, forward="differs")
            left[change.in_code] -= derived is not None
            returned = derived.examined.returned if derived is not None else ()
            if returned and all(gradient is None for gradient in returned):
                continue  # with this option there is nothing to differentiate, as of a loss without labels
            for new_error in _standing(changed, derived) if derived is not None else ():
                found = _finding(context, changed, derived, new_error) if new_error.gradient not in reported else None
                if found is not None:
                    reported.add(new_error.gradient)
                    yield found


def _standing(changed: ChangedOptions, derived: DerivedCall) -> tuple[Finding, ...]:
    """The errors but those of gradients that pass where numbers check autograd, as they do on the call itself.

    With other options a forward may go a way that autograd cannot be trusted on, such as a bisection in the place of a formula.
    """
    errors = derived.new_errors
    if not changed.context.uses_autograd or all(error.cause in having("no_result") for error in errors):
        return errors
    guarded = examine_derived_call(changed.context, changed.case, numeric=True, forward="differs")
    if guarded is None:
        return errors
    right = {c.result.name for c in guarded.examined.comparisons if c.result.verdict == "pass"}
    return tuple(error for error in errors if error.cause in having("no_result") or error.gradient not in right)


def _ends_sooner(changed: ChangedOptions) -> bool:
    """Whether a number of steps, as of an iteration whose limit the backward differentiates, is made smaller."""
    pairs = [(changed.before[name], value) for name, value in changed.change.values.items() if name in changed.before]
    return any(type(new) is int and type(old) is int and new < old and old > LARGE_OPTION.value for old, new in pairs)


def _finding(context: Context, changed: ChangedOptions, derived: DerivedCall | None, new_error: Finding) -> Finding | None:
    assert derived is not None
    severity = _severity(context, changed, derived, new_error)
    if severity is None:
        return None
    if is_right_without_rest(context, changed, new_error):
        return _of_the_rest(changed, derived, new_error)
    index, why = derived.input_index(new_error), new_error.explanation
    many = " and ".join(changed.change.values)
    quoted = " and ".join(repr(name) for name in changed.change.values)
    if index is not None and new_error.cause not in having("no_result") and changed.has_the_same_gradient(derived, index):
        why = f"it is the same gradient for every {many}"
    if new_error.cause in having("digits") and changed.has_the_same_outputs(derived):
        return replace(
            new_error,
            severity="warning",
            message=f"{new_error.message}, with {changed.text}, which trades precision for memory or speed",
            explanation=f"the outputs are those of {changed.text_before}, whose gradient has all its digits: {why}",
            suggestion=f"say so where {quoted} is described, or keep what the backward needs in full",
            probe="options",
            case=changed.text,
        )
    return replace(
        new_error,
        cause=new_error.cause if new_error.cause in having("keeps_name") else _cause(changed),
        severity=severity,
        message=f"{new_error.message}, with {changed.text}",
        explanation=f"right with {changed.text_before}, wrong with {changed.text}: {why}",
        suggestion=f"use {quoted} in the backward as the forward does",
        probe="options",
        case=changed.text,
    )


def _of_the_rest(changed: ChangedOptions, derived: DerivedCall, new_error: Finding) -> Finding:
    """What a window of another size leaves over is wrong: the sizes do it. Visibly wrong, it may be refused on purpose."""
    is_number = derived.returned_and_true(new_error) is not None
    return replace(
        new_error,
        cause="size-specialised",
        severity="error" if is_number else "note",
        message=f"{new_error.message}, with {changed.text}",
        explanation=f"right with {changed.text} at multiples of it, wrong where a rest is left: {new_error.explanation}",
        suggestion="give the rest the gradient that it has in the forward, or none",
        probe="options",
        case=changed.text,
    )


def _severity(
    context: Context, changed: ChangedOptions, derived: DerivedCall, new_error: Finding
) -> Literal["error", "warning", "note"] | None:
    """How serious an error is with changed options; None where it says nothing of the backward."""
    change, is_number = changed.change, derived.returned_and_true(new_error) is not None
    if (change.guessed or change.attribute) and not is_number:
        return None  # nobody said that such a value is taken
    flags = [name for name, value in change.values.items() if is_training_flag(name, value)]
    if flags and context.subject.keeps_last_call:
        here, there = changed.context.record(changed.context.case), changed.context.record(changed.case)
        return meant_for(context, flags[0], here, there, attribute=False) if is_number else None
    refused = new_error.cause in having("no_result") and changed.may_refuse(new_error.exception)
    return "note" if refused or (new_error.cause in having("arity") and not changed.was_passed) else "error"


def _cause(changed: ChangedOptions) -> str:
    """The cause of a wrong gradient: of an object in the other mode it is that."""
    values = changed.change.values
    is_mode = len(values) == 1 and all(is_training_flag(name, value) for name, value in values.items())
    return "mode-mismatch" if is_mode and changed.context.subject.keeps_last_call else "option-specialised"
