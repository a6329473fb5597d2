"""The gradient is right for other values of the forward's options: flags, numbers and well-known words, singly and in pairs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.exceptions import OF_ARGUMENTS
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import LANE_ELEMENTS, OPTION_CHANGES
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.cut_down import cut_down
from gradcheck_lab.probes.support.derived_calls import DerivedCall, derived_case, examine_derived_call, wide_inputs
from gradcheck_lab.probes.support.option_values import known_options, options_among_inputs, other_values, with_changes
from gradcheck_lab.subjects import adapt

# these say how or where to run, and do not change the function that is differentiated
_NOT_THE_FUNCTION = frozenset("self ctx inplace generator seed device dtype out requires_grad training_step".split())


def options(context: Context) -> Iterator[Finding]:
    """Change each option that the call passed or that has a default, where the forward accepts the change."""
    known = known_options(context)
    reported: set[str | None] = set()
    given: tuple[Any, ...] = ()
    for changes in itertools.islice(_changes(context, known), OPTION_CHANGES.value):
        given = given or cut_down(context, wide_inputs(context), LANE_ELEMENTS.value)
        if not given:
            return
        changed_context = _context_of_change(context, given, changes)
        derived = (
            None
            if changed_context is None
            else examine_derived_call(
                changed_context, _case_with_options(changed_context, changed_context.case.inputs, changes), forward=True
            )
        )
        for new_error in () if derived is None else derived.new_errors:
            if new_error.gradient not in reported and derived is not None and changed_context is not None:
                reported.add(new_error.gradient)
                was_passed = changes.keys() <= {*options_among_inputs(context), *context.case.options}
                yield _finding(changed_context, derived, new_error, changes, known, was_passed)


def _context_of_change(context: Context, given: tuple[Any, ...], changes: Mapping[str, Any]) -> Context | None:
    """The context for changed options, with the inputs `given`; None where an option cannot be passed.

    A Function or operator takes options as inputs, so the change adds those that the call left at their defaults.
    """
    subject, runner = context.subject, context.runner
    if subject.user is not None and not changes.keys() <= {*subject.names, *context.case.options}:
        try:
            runner = replace(runner, subject=replace(adapt(subject.user, given, dict(changes)), allowed=subject.allowed))
        except InvalidArgument:  # an argument without a default comes before it
            return None
        given = runner.subject.inputs
    return context.for_case(runner, replace(context.case, inputs=given))


def _changes(context: Context, known: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    every = {name: v for name, v in {**known, **options_among_inputs(context)}.items() if name not in _NOT_THE_FUNCTION}
    first = {name: next(iter(other_values(value)), None) for name, value in every.items()}
    for name, value in first.items():
        if value is not None:
            yield {name: value}
    changed = [name for name, value in first.items() if value is not None]
    if len(changed) > 1:
        yield {name: first[name] for name in changed[:2]}
    for name, value in every.items():
        for other in list(other_values(value))[1:]:
            yield {name: other}


def _case_with_options(context: Context, given: tuple[Any, ...], changes: Mapping[str, Any]) -> Case:
    scalars = options_among_inputs(context)
    inputs = tuple(with_changes(n, v, changes) for n, v in zip(context.subject.names, given, strict=True))
    # what was passed as an option is placed among the inputs of a Function anew, over what stands there
    rest = {name: value for name, value in changes.items() if name not in scalars or name in context.case.options}
    label = _option_text(changes)
    return derived_case(context, inputs=inputs, options={**context.case.options, **rest}, label=label)


def _option_text(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in changes.items())


def _finding(
    context: Context,
    derived: DerivedCall,
    new_error: Finding,
    changes: Mapping[str, Any],
    known: Mapping[str, Any],
    was_passed: bool,
) -> Finding:
    among_inputs = options_among_inputs(context)
    before = {n: known[n] if n in known else among_inputs[n] for n in changes}
    index, why = derived.input_index(new_error), new_error.explanation
    if index is not None and new_error.cause not in having("no_result") and _is_unchanged(context, derived, index, before):
        why = f"it is the same gradient for every {' and '.join(changes)}"
    many = " and ".join(repr(n) for n in changes)
    if new_error.cause in having("digits") and _has_the_same_outputs(context, derived, before):
        return replace(
            new_error,
            severity="warning",
            message=f"{new_error.message}, with {_option_text(changes)}, which trades precision for memory or speed",
            explanation=f"the outputs are those of {_option_text(before)}, whose gradient has all its digits: {why}",
            suggestion=f"say so where {many} is described, or keep what the backward needs in full",
            probe="options",
            case=_option_text(changes),
        )
    return replace(
        new_error,
        cause=new_error.cause if new_error.cause in having("keeps_name") else "option-specialised",
        severity="note" if _is_refusal(context, new_error, was_passed, changes, before) else "error",
        message=f"{new_error.message}, with {_option_text(changes)}",
        explanation=f"right with {_option_text(before)}, wrong with {_option_text(changes)}: {why}",
        suggestion=f"use {many} in the backward as the forward does",
        probe="options",
        case=_option_text(changes),
    )


def _has_the_same_outputs(context: Context, derived: DerivedCall, before: Mapping[str, Any]) -> bool:
    """Whether the forward is the same function with the original options, to the last digit."""
    cases = (derived.examined.case, _case_with_options(context, derived.inputs, before))
    upstream = derived.examined.case.grad_outputs
    here, there = (context.run(replace(case, grad_outputs=upstream)) for case in cases)
    if here.error is not None or there.error is not None or len(here.outputs) != len(there.outputs):
        return False
    return all(torch.equal(a, b) for a, b in zip(here.outputs, there.outputs, strict=True))


def _is_refusal(
    context: Context, new_error: Finding, was_passed: bool, changes: Mapping[str, Any], before: Mapping[str, Any]
) -> bool:
    """Whether an error is a refusal of an option that need not be supported.

    That is an integer that became negative, as padding that crops, or a value that the backward rejects for an option that the
    call did not pass: on purpose, or, of an object, because its forward left nothing to it.
    """
    raised = new_error.cause in having("no_result")
    negative = any(isinstance(v, int) and isinstance(before[n], int) and v < 0 <= before[n] for n, v in changes.items())
    refused = new_error.exception in OF_ARGUMENTS or context.subject.state is not None
    if negative or (raised and not was_passed and refused):
        return True
    return new_error.cause in having("arity") and not was_passed


def _is_unchanged(context: Context, derived: DerivedCall, index: int, before: Mapping[str, Any]) -> bool:
    """Whether the backward returns the same gradient for the same grad_output with the original options."""
    other = context.run(
        replace(_case_with_options(context, derived.inputs, before), grad_outputs=derived.examined.case.grad_outputs)
    )
    if other.error is not None or index >= len(other.gradients):
        return False
    return context.equal(derived.examined.returned[index], other.gradients[index])
