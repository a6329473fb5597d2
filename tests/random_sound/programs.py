"""Random programs of the package's own ops: fan-out, diamonds, residuals, shared parameters, broadcasting, several outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from gradcheck_lab import ops
from tests.random_sound.draws import REAL, Draw
from tests.random_sound.forms import Subject

UNARY = {"relu": ops.relu, "neg": ops.neg}
BINARY = {"add": ops.add, "sub": ops.sub, "mul": ops.mul}
ROOM = 0.5  # the power of a dtype's largest number that values and gradients stay below


@dataclass(frozen=True)
class Step:
    """One op on earlier values, by number, and on parameters, by name; `scale` divides by a positive parameter."""

    kind: str
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The steps of a program over (rows, width), and what it returns."""

    steps: tuple[Step, ...]
    ending: str


def plan_of(draw: Draw) -> Plan:
    """Draw steps; the newest value is read more often, so that few are dead."""
    kinds = ["relu", "neg", "add", "sub", "mul", "linear", "matmul", "shift", "scale", "shrink", "residual", "diamond"]
    steps = []
    for number in range(draw.size(1, 5)):
        kind = draw.of(kinds)
        source = st.sampled_from([number, number, *range(number + 1)])
        steps.append(Step(kind, (draw.draw(source), draw.draw(source))))
    return Plan(tuple(steps), draw.of(("last", "last", "mse", "mse none", "cross entropy", "two", "three")))


def run(plan: Plan, x: Any, weight: Any, bias: Any, column: Any, target: Any) -> Any:
    """The program of a plan: x (rows, width), a square weight, a bias, a positive column and a target."""
    values = [x]
    for step in plan.steps:
        a, b = (values[source] for source in step.sources)
        values.append(next_value(step.kind, a, b, weight, bias, column))
    last = values[-1]
    if plan.ending == "mse":
        return ops.mse_loss(last, target, reduction="mean")
    if plan.ending == "mse none":
        return ops.mse_loss(last, target, reduction="none")
    if plan.ending == "cross entropy":
        return ops.softmax_cross_entropy(last, target)
    if plan.ending == "two":
        return last, values[len(values) // 2]
    if plan.ending == "three":
        return ops.neg(last), ops.relu(values[0]), last
    return last


def next_value(kind: str, a: Any, b: Any, weight: Any, bias: Any, column: Any) -> Any:
    if kind in UNARY:
        return UNARY[kind](a)
    if kind in BINARY:
        return BINARY[kind](a, b)
    if kind == "linear":
        return ops.linear(a, weight, bias)
    if kind == "matmul":
        return ops.matmul(a, weight)
    if kind == "shift":
        return ops.add(bias, a)
    if kind == "scale":
        return ops.div(a, column)
    if kind == "shrink":
        return ops.mul(column, a)
    if kind == "residual":
        hidden = ops.relu(ops.linear(a, weight, bias))
        return ops.add(a, hidden)
    doubled = ops.add(a, a)
    return ops.sub(ops.mul(doubled, a), b)


def program_of(plan: Plan) -> Callable[..., Any]:
    """The program under the signature that a user would give it."""
    if plan.ending in ("mse", "mse none", "cross entropy"):

        def with_target(x: Any, weight: Any, bias: Any, column: Any, target: Any) -> Any:
            return run(plan, x, weight, bias, column, target)

        return with_target

    def without_target(x: Any, weight: Any, bias: Any, column: Any) -> Any:
        return run(plan, x, weight, bias, column, None)

    return without_target


def program(draw: Draw) -> Subject:
    """Draw a program and a call of it."""
    draw.dtype = draw.of(REAL)
    plan = plan_of(draw)
    rows, width = draw.of((3, 2, 4, 1, 3, 0)), draw.of((2, 3, 4, 1, 2))
    if plan.ending == "cross entropy":
        rows = max(1, rows)
    lead = draw.of(((), (), (2,)))
    shape = (*lead, rows, width)
    column = draw.positive(*draw.of(((rows, 1), (width,), shape, (1,))))
    inputs: tuple[Tensor, ...] = (draw.real(*shape), draw.real(width, width), draw.real(width), column)
    inputs = within_range(plan, inputs, draw)
    target = draw.whole(width, *shape[:-1]) if plan.ending == "cross entropy" else draw.real(*shape, kind="ordinary")
    wants_target = plan.ending in ("mse", "mse none", "cross entropy")
    return Subject(program_of(plan), (*inputs, target) if wants_target else inputs, form=f"{plan}")


def within_range(plan: Plan, inputs: Sequence[Tensor], draw: Draw) -> tuple[Tensor, ...]:
    """Halve the inputs until no value and no gradient comes near the largest number of the dtype."""
    limit = torch.finfo(draw.dtype).max ** ROOM
    kept = tuple(inputs)
    while largest(plan, kept) > limit:
        kept = (*(value / 2 for value in kept[:3]), kept[3])
    return kept


def largest(plan: Plan, inputs: Sequence[Tensor]) -> float:
    """The largest value, or gradient, of the program without its ending."""
    wide = [value.double().requires_grad_() for value in inputs]
    values = [wide[0]]
    for step in plan.steps:
        a, b = (values[source] for source in step.sources)
        values.append(next_value(step.kind, a, b, *wide[1:]))
    last = values[-1].square().sum()
    grads = torch.autograd.grad(last, wide, allow_unused=True)
    found = [*values, *(grad for grad in grads if grad is not None)]
    return max(float(value.detach().abs().max()) if value.numel() else 0.0 for value in found)
