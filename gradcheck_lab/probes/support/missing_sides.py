"""Values that take a side of a condition which no element took: found from how far the elements were from it."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.similar_values import Structures
from gradcheck_lab.calls.stress import NEGATED, can_be_stressed, unseen_values
from gradcheck_lab.model.amounts import BEYOND_A_BOUND, SHARE_BEYOND
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.subjects.run_lines.function import Operands, Watched
from gradcheck_lab.subjects.run_lines.watch import current

Change = Callable[[tuple[Any, ...]], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Move:
    """A change of inputs in words, and the inputs that it makes of others."""

    words: str
    change: Change


def moves_to(context: Context, given: Sequence[Any], watched: Watched) -> Iterator[Move]:
    """Changes that may bring about half of the elements to the missing side, the likeliest first."""
    which = [i for i, v in enumerate(given) if can_be_stressed(v) and i not in context.subject.constants]
    operands = watched.first
    if operands is None:
        yield from (_negated(context, i) for i in which)
        return
    if _is_equality(watched):
        yield from (_placed(context, i, operands.bounds[0]) for i in which if operands.bounds[0] == operands.bounds[1])
        return
    factor = _factor(operands)
    if factor is not None:
        yield from (_scaled(context, which, each) for each in (factor, 1 / factor))
    # as many elements as there are on both sides of the bound, in whichever direction an input moves them
    way = math.copysign(abs(operands.difference) + operands.spread * SHARE_BEYOND.value, -operands.difference)
    yield from (_shifted(context, i, distance) for distance in (way, -way) for i in which)
    yield from (_negated(context, i) for i in which)
    if factor is not None and len(which) > 1:
        yield from (_scaled(context, [i], each) for each in (factor, 1 / factor) for i in which)


def _is_equality(watched: Watched) -> bool:
    test = watched.condition.test
    return isinstance(test, ast.Compare) and isinstance(test.ops[0], (ast.Eq, ast.NotEq))


def _factor(operands: Operands) -> float | None:
    """How many times larger, or smaller, the left has to be to pass the right; None where scaling does not do it."""
    bounds = [abs(bound) for bound in operands.bounds if bound]
    if not bounds or not operands.size:
        return None
    ratio = min((bound / operands.size for bound in bounds), key=lambda ratio: abs(math.log(ratio)))
    return ratio * BEYOND_A_BOUND.value if ratio >= 1 else ratio / BEYOND_A_BOUND.value


def _negated(context: Context, index: int) -> Move:
    """The other sign; of values that are all positive too, which have no other structure to keep then."""
    value, words = context.case.inputs[index], f"{context.name(index)} of the other sign"
    if unseen_values(value) is not NEGATED:
        return _each(context, [index], words, torch.neg)
    return Move(words, lambda inputs: tuple(-v if i == index else v for i, v in enumerate(inputs)))


def _shifted(context: Context, index: int, distance: float) -> Move:
    way = "up" if distance > 0 else "down"
    return _each(context, [index], f"{context.name(index)} moved {way} by {abs(distance):.3g}", lambda v: v + distance)


def _scaled(context: Context, which: Sequence[int], factor: float) -> Move:
    names = " and ".join(context.name(i) for i in which)
    return _each(context, which, f"{names} times {factor:.3g}", lambda v: v * factor)


def _placed(context: Context, index: int, value: float) -> Move:
    def change(v: torch.Tensor) -> torch.Tensor:
        flat = v.detach().clone().reshape(-1)
        flat[::2] = value
        return flat.reshape(v.shape)

    return _each(context, [index], f"{context.name(index)} equal to {value:.3g} in places", change)


def _each(context: Context, which: Sequence[int], words: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Move:
    """The change of some inputs, which keep their range and structure."""
    structures = context.once("structures", Structures)
    known = {i: structures.of(context.case.inputs[i]) for i in which}

    def changed(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            known[i].applied(change(v.detach())) if i in known and is_differentiable(v) else v for i, v in enumerate(inputs)
        )

    return Move(words, changed)


def open_conditions() -> list[Watched]:
    """The conditions of the user's functions with a side that no element took, those on code as a whole too."""
    watch = current()
    functions = [] if watch is None else [each for each in watch.functions.values() if each is not None]
    groups = [group for function in functions for group in function.watched.values()]
    return [each for group in groups for each in group if each.is_open and each.taken]
