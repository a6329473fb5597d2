"""The gradients of an elementwise forward, or one of simple reductions, as lines of torch: read off the graph that it makes."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs
from gradcheck_lab.model.limits import CHARACTERS_OF_AN_EXPRESSION, STEPS_OF_AN_EXPRESSION
from gradcheck_lab.repair.formulas import FORMULAS, Formula
from gradcheck_lab.subjects.runner import Runner
from gradcheck_lab.torch_internals import DispatchMode, schema

Place = tuple[int, tuple[int, ...], tuple[int, ...]]


_SHAPED = ("expand", ".reshape", "@", ".mT", ".permute", ".transpose")  # what has the shape of the operand already
_OTHER_SHAPES = frozenset({"mm", "bmm", "addmm", "t", "permute", "transpose", "sum", "mean"})  # equal sizes are chance there


class Unreadable(Exception):
    """The forward has an operator, or a constant, that no expression says."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operator with its tensors, by place, or numbers, its other arguments by name, and the place of its result."""

    name: str
    operands: tuple[Place | float, ...]
    arguments: Mapping[str, Any]
    result: Place


class Steps(DispatchMode):
    """Records what a forward computes; tensors are kept, so that no other takes their place in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.shapes: dict[Place, tuple[int, ...]] = {}
        self.numbers: dict[Place, float] = {}
        self._held: list[torch.Tensor] = []

    def place(self, value: torch.Tensor) -> Place:
        """Where a tensor lies, by which it is known."""
        self._held.append(value.detach())
        found = (value.data_ptr(), tuple(value.shape), tuple(value.stride()))
        self.shapes[found] = tuple(value.shape)
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Run the operator and record it."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("detach", "alias", "lift_fresh") or not isinstance(result, torch.Tensor):
            return result
        taken = schema(func).arguments
        given = {each.name: value for each, value in zip(taken, args, strict=False)} | (kwargs or {})
        operands: list[Place | float] = []
        for value in args:
            if isinstance(value, torch.Tensor):
                operands.append(self.place(value))
            elif type(value) in (int, float) and len(operands) < 2:  # the other operand of a product or sum
                operands.append(value)
        for place, value in zip(operands, args, strict=False):
            if isinstance(value, torch.Tensor) and value.ndim == 0 and not isinstance(place, (int, float)):
                self.numbers.setdefault(place, float(value.detach().real))
        others = {key: value for key, value in given.items() if not isinstance(value, torch.Tensor)}
        known = set(self.shapes)
        step = Step(name, tuple(operands), others, self.place(result))
        if name.endswith("_") or step.result not in known:  # a view that is what it was made of is no step
            self.steps.append(step)
        return result


def derived(runner: Runner, case: Any, wanted: Sequence[int]) -> tuple[dict[int, str], str]:
    """An expression for each of these inputs' gradients, of `grad_output`, `output` and the inputs by name; and the output's.

    Raises `Unreadable` where one has none, and what the forward raises.
    """
    names, recorded = runner.subject.names, Steps()
    inputs = tuple(
        value.requires_grad_() if i in wanted else value for i, value in enumerate(copy_inputs(case.inputs))
    )
    values = {recorded.place(v): names[i] for i, v in enumerate(inputs) if isinstance(v, torch.Tensor)}
    with torch.enable_grad(), recorded:
        outputs = runner.trace(inputs, case).outputs
    if len(outputs) != 1 or len(recorded.steps) > STEPS_OF_AN_EXPRESSION.value:
        raise Unreadable("the forward has several outputs, or too many steps")
    end = recorded.place(outputs[0])
    _name_values(recorded, values)
    forward = values.get(end, "")
    values[end] = forward if forward.isidentifier() else "output"
    sent = _sent_back(recorded, values, end)
    found = {}
    for i in wanted:
        text = sent.get(recorded.place(inputs[i]), f"torch.zeros_like({names[i]})")
        found[i] = _plain(text)
        if len(found[i]) > CHARACTERS_OF_AN_EXPRESSION.value:
            raise Unreadable("an expression is too long to be read")
    return found, forward


def _name_values(recorded: Steps, values: dict[Place, str]) -> None:
    """Give every value of the forward that has one its expression."""
    for step in recorded.steps:
        formula = _formula(step)
        if formula is not None and step.result not in values:
            with suppress(Unreadable):
                values[step.result] = _filled(formula.value, step, recorded, values)


def _sent_back(recorded: Steps, values: Mapping[Place, str], output: Place) -> dict[Place, str]:
    """What is sent back to each place, from the output to the inputs."""
    sent = {output: "grad_output"}
    for step in reversed(recorded.steps):
        gradient = sent.get(step.result)
        if gradient is None:
            continue
        formula = _formula(step)
        if formula is None:
            raise Unreadable(f"no expression is known for {step.name}")
        for operand, text in zip(step.operands, formula.sent, strict=False):
            if isinstance(operand, (int, float)) or text is None:
                continue
            term = _filled(text, step, recorded, values, gradient)
            if recorded.shapes[operand] != recorded.shapes[step.result] and not any(word in text for word in _SHAPED):
                term = f"({term}).sum_to_size({_of_shape(operand, recorded, values)}.shape)"
            sent[operand] = f"{sent[operand]} + ({term})" if operand in sent else f"({term})"
    return sent


def _of_shape(place: Place, recorded: Steps, values: Mapping[Place, str]) -> str:
    """A value of the same shape at any sizes, by its name where there is one, else by its expression."""
    seen = place
    while not values.get(seen, "").isidentifier():
        made = next((step for step in recorded.steps if step.result == seen), None)
        same = [o for o in made.operands if not isinstance(o, (int, float)) and recorded.shapes[o] == seen[1]] if made else []
        if made is None or made.name in _OTHER_SHAPES or not same:
            break
        seen = same[0]
    return values[seen] if values.get(seen, "").isidentifier() else f"({values.get(place, '?')})"


def _formula(step: Step) -> Formula | None:
    row = FORMULAS.get(step.name)
    if callable(row):
        try:
            return row(dict(step.arguments))
        except LookupError:
            return None
    return row


def _filled(text: str, step: Step, recorded: Steps, values: Mapping[Place, str], gradient: str = "") -> str:
    words: dict[str, str] = {"g": f"({gradient})", "y": f"({values.get(step.result, '?')})", "s": "?"}
    if "{s}" in text and not isinstance(step.operands[0], (int, float)):
        words["s"] = _of_shape(step.operands[0], recorded, values)
    parts = []
    for operand in step.operands:
        if isinstance(operand, (int, float)):
            parts.append(f"({operand!r})")
        elif operand in values:
            parts.append(f"({values[operand]})")
        else:
            parts.append(f"({recorded.numbers[operand]!r})" if operand in recorded.numbers else "?")
    try:
        filled = text.format(*parts, **words)
    except IndexError:
        raise Unreadable(f"{step.name} takes what no expression says") from None
    if "?" in filled:
        raise Unreadable(f"{step.name} takes a tensor that is made on the way")
    return filled


def _plain(text: str) -> str:
    """The expression without the parentheses that it does not need."""
    return ast.unparse(ast.parse(text, mode="eval")).replace(" ** ", "**")


def backward_of(names: Sequence[str], expressions: Mapping[int, str]) -> Any:
    """A backward that returns these expressions, and None for the other inputs."""
    codes = [compile(expressions[i], "<derived>", "eval") if i in expressions else None for i in range(len(names))]

    def backward(grad_output: Any, output: Any, *inputs: Any, **options: Any) -> tuple[Any, ...]:
        space = dict(zip(names, inputs, strict=True)) | {"grad_output": grad_output, "output": output, "torch": torch}
        return tuple(None if code is None else eval(code, space) for code in codes)

    return backward
