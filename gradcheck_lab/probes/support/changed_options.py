"""A call with other values of its options, beside the same call with those that it had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.exceptions import OF_ARGUMENTS
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.derived_calls import DerivedCall, derived_case
from gradcheck_lab.probes.support.option_changes import Change
from gradcheck_lab.probes.support.option_values import known_options, options_among_inputs, with_changes
from gradcheck_lab.subjects import adapt
from gradcheck_lab.subjects.reference import with_reference


@dataclass(frozen=True, slots=True)
class ChangedOptions:
    """The context of a call with changed options, whose inputs fit both; `before` are the values that the options had."""

    context: Context
    change: Change
    before: Mapping[str, Any]
    was_passed: bool

    @property
    def case(self) -> Case:
        """The call with the changed options."""
        return self._case(self.context.case.inputs, self.change.values)

    @property
    def text(self) -> str:
        """What messages call the change: `reduction='sum'`."""
        return _text(self.change.values)

    @property
    def text_before(self) -> str:
        """The same of the values before."""
        return _text(self.before)

    @contextmanager
    def on_object(self, values: Mapping[str, Any]) -> Iterator[None]:
        """Within the block the object has these values, where they are attributes of it."""
        state = self.context.subject.state
        with attributes_set(state.owner if state is not None else None, values if self.change.attribute else {}):
            yield

    def has_the_same_outputs(self, derived: DerivedCall) -> bool:
        """Whether the forward is the same function with the values before, to the last digit."""
        case = derived.examined.case
        here = self.context.run(case)
        with self.on_object(self.before):
            there = self.context.run(replace(self._case(derived.inputs, self.before), grad_outputs=case.grad_outputs))
        if here.error is not None or there.error is not None or len(here.outputs) != len(there.outputs):
            return False
        return all(torch.equal(a, b) for a, b in zip(here.outputs, there.outputs, strict=True))

    def has_the_same_gradient(self, derived: DerivedCall, index: int) -> bool:
        """Whether the backward returns the same gradient of an input for the same grad_output with the values before."""
        if any(isinstance(value, torch.Tensor) for value in self.before.values()):
            return False
        case = replace(self._case(derived.inputs, self.before), grad_outputs=derived.examined.case.grad_outputs)
        with self.on_object(self.before):
            other = self.context.run(case)
        if other.error is not None or index >= len(other.gradients):
            return False
        return self.context.equal(derived.examined.returned[index], other.gradients[index])

    def may_refuse(self, exception: str | None) -> bool:
        """Whether a backward may raise this for values that the call did not pass: on purpose, or as an object's that was left
        nothing by its forward; and for an integer that became negative, as padding that crops. What an op declares it takes."""
        op = self.context.subject.op
        if op is not None and all(value in op.choices.get(name, ()) for name, value in self.change.values.items()):
            return False
        pairs = [(self.before[name], value) for name, value in self.change.values.items()]
        negative = any(isinstance(old, int) and isinstance(new, int) and new < 0 <= old for old, new in pairs)
        return negative or (not self.was_passed and (exception in OF_ARGUMENTS or self.context.subject.state is not None))

    def _case(self, given: tuple[Any, ...], values: Mapping[str, Any]) -> Case:
        context = self.context
        if self.change.attribute:
            return derived_case(context, inputs=given, label=_text(values))
        among = options_among_inputs(context)
        inputs = tuple(with_changes(n, v, values) for n, v in zip(context.subject.names, given, strict=True))
        # what was passed as an option is placed among the inputs of a Function anew, over what stands there
        rest = {name: value for name, value in values.items() if name not in among or name in context.case.options}
        return derived_case(context, inputs=inputs, options={**context.case.options, **rest}, label=_text(values))


def changed_options(context: Context, given: tuple[Any, ...], change: Change) -> ChangedOptions | None:
    """The call with inputs `given` and a change of its options; None where one of them cannot be passed.

    A Function or operator takes options as inputs, so the change adds those that the call left at their defaults.
    """
    subject, runner, values = context.subject, context.runner, change.values
    if change.attribute:
        assert subject.state is not None
        before = {name: getattr(subject.state.owner, name) for name in values}
        return ChangedOptions(context.for_case(runner, replace(context.case, inputs=given)), change, before, False)
    among = options_among_inputs(context)
    every = {**among, **known_options(context)}
    options = dict(context.case.options)
    if subject.user is not None and not values.keys() <= {*subject.names, *context.case.options}:
        try:
            placed = adapt(subject.user, given, dict(values), _wanted(context))
        except InvalidArgument:  # an argument without a default comes before it
            return None
        placed = placed if subject.reference is None else with_reference(placed, subject.reference)
        runner, given = replace(runner, subject=replace(placed, allowed=subject.allowed)), placed.inputs
        options |= {name: every[name] for name in values} if subject.reference is not None else {}
    changed = context.for_case(runner, replace(context.case, inputs=given, options=options))
    passed = values.keys() <= {*among, *context.case.options}
    return ChangedOptions(changed, change, {name: every[name] for name in values}, passed)


def _wanted(context: Context) -> list[str] | None:
    """The inputs that need a gradient, where others of the call need none."""
    subject = context.subject
    floating = [i for i, value in enumerate(context.case.inputs) if is_differentiable(value)]
    wanted = [subject.names[i] for i in floating if i not in subject.constants]
    return wanted if 0 < len(wanted) < len(floating) else None


@contextmanager
def attributes_set(owner: Any, values: Mapping[str, Any]) -> Iterator[None]:
    """Within the block an object has these values of its attributes, and afterwards those of before."""
    before = {name: getattr(owner, name) for name in values}
    try:
        for name, value in values.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def _text(values: Mapping[str, Any]) -> str:
    return ", ".join(f"a tensor for {n}" if isinstance(v, torch.Tensor) else f"{n}={v!r}" for n, v in values.items())
