"""Programs: plain functions that call ops. They run on Variables for the manual side and on tensors for autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.engine.links import links
from gradcheck_lab.engine.native import native_steps
from gradcheck_lab.engine.operators import operator, takes_operator
from gradcheck_lab.engine.variable import Node, Variable, backward, record, unwrap
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import bits
from gradcheck_lab.rules.naming import assigned_names
from gradcheck_lab.rules.op import Op, active_recorder, as_tuple
from gradcheck_lab.subjects.backward_signature import require_signature
from gradcheck_lab.subjects.subject import Call, Key, Manual, Recording, Trace

Program = Callable[[tuple[Any, ...], Mapping[str, Any]], Any]


def record_program(program: Program, name: str, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> Recording:
    """Run the program on Variables, which record its op calls for a backward through the hand-written rules."""
    leaves = tuple(Variable(value) if is_differentiable(value) else value for value in inputs)
    with record() as tape, native_steps() as steps:
        output = program(leaves, options)
    variables = as_tuple(output)
    for variable in variables:
        if not isinstance(variable, Variable):
            raise InvalidArgument(
                f"{name} returned a {type(variable).__name__} where its ops return Variables; "
                "return what the ops gave, and call ops on the inputs that the function is given"
            )

    def walk(grad_outputs: tuple[torch.Tensor, ...]) -> Manual:
        backward(variables, grad_outputs)
        returned = tuple(leaf.grad if isinstance(leaf, Variable) else None for leaf in leaves)
        values = {Key("value", k, j): variable.grad for k, node in enumerate(tape) for j, variable in enumerate(node.outputs)}
        return Manual(returned, values)

    calls = tuple(_call(node) for node in tape)
    for call in {(id(call.op), len(call.inputs), *call.options): call for call in calls}.values():
        require_signature(call.op, call.inputs, call.options, checked=False)
    several = isinstance(output, (tuple, list))
    notes = (_trusted(name, tuple(steps)),) if steps else ()
    data = tuple(variable.data for variable in variables)
    return Recording(data, several, walk, calls, findings=notes, links=partial(links, leaves, tape, variables))


def _trusted(name: str, steps: tuple[str, ...]) -> Finding:
    words = ", ".join(step.strip("_") for step in steps)
    return Finding(
        "not-compared",
        "note",
        f"{name} has steps that are torch's own, whose gradient is torch's: {words}",
        explanation="they are trusted, and what was compared is what the hand-written ops make of it",
        suggestion="use an op for a step whose backward you wrote",
    )


def _call(node: Node) -> Call:
    inputs = tuple(unwrap(value) for value in node.inputs)
    outputs = tuple(variable.data for variable in node.outputs)
    return Call(node.op, inputs, node.options, outputs, node.several, node.names)


@dataclass
class _Tracer(TorchFunctionMode):
    """Run op calls under autograd. Each input is a view of its own, whose gradient is what that call contributes."""

    substitute: frozenset[int] | None = frozenset()
    calls: list[Call] = field(default_factory=list)
    inside: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def apply(self, op: Op, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        op.validate(inputs, options)
        aliases = tuple(
            value.view_as(value) if isinstance(value, torch.Tensor) and value.requires_grad else value
            for value in _as_wide(inputs)
        )
        self.inside, token = True, active_recorder.set(None)
        try:
            written = self.substitute is None or len(self.calls) in self.substitute
            forward = op.as_function() if written else op.forward
            output = forward(*aliases, **options)
        finally:
            self.inside = False
            active_recorder.reset(token)
        several = isinstance(output, (tuple, list))
        self.calls.append(Call(op, aliases, options, as_tuple(output), several, assigned_names()))
        return output

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        in_place = name.endswith("_") and not name.startswith("_")
        is_step = not in_place or any(getattr(v, "requires_grad", False) for v in args)  # else it writes to a buffer
        if not self.inside and not kwargs and is_step and takes_operator(name, args):
            return operator(name, args)
        inside, self.inside = self.inside, True  # operators within torch's own functions are no steps of the program
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.inside = inside


def _as_wide(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs of a call with tensors from outside of the program as wide as its own, which may run wider than they were."""
    widths = [bits(v.dtype) for v in inputs if is_differentiable(v) and v.requires_grad]
    goal = next((v.dtype for v in inputs if is_differentiable(v) and v.requires_grad and bits(v.dtype) == max(widths)), None)
    if goal is None:
        return inputs
    return tuple(
        v.to(goal.to_complex() if v.is_complex() else goal.to_real())
        if is_differentiable(v) and not v.requires_grad and bits(v.dtype) < bits(goal)
        else v
        for v in inputs
    )


def trace_program(
    program: Program, inputs: tuple[Any, ...], options: Mapping[str, Any], substitute: frozenset[int] | None = frozenset()
) -> Trace:
    """Run the program on tensors that autograd tracks.

    The calls whose numbers are in `substitute` run their hand-written backward under autograd; None means all calls.
    """
    tracer = _Tracer(substitute)
    token = active_recorder.set(tracer)
    try:
        with tracer:
            output = program(inputs, options)
    finally:
        active_recorder.reset(token)
    return Trace(as_tuple(output), tuple(tracer.calls))
