"""The gradient is right on the sides of conditions that no call took: beyond a clamp's bound, behind a mask, under an `if`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import torch

from gradcheck_lab.calls.case import copy_inputs, is_differentiable
from gradcheck_lab.calls.drawn_again import similar_inputs
from gradcheck_lab.calls.stress import Stress
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.model.amounts import LARGE_VALUES
from gradcheck_lab.model.causes import CAUSES, having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import LANE_ELEMENTS, MISSING_SIDES, TRIES_FOR_A_SIDE
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.cut_down import cut_down
from gradcheck_lab.probes.support.derived_calls import (
    DerivedCall,
    derived_case,
    examine_derived_call,
    wide_inputs,
    wrong_gradients_at,
)
from gradcheck_lab.probes.support.missing_sides import Move, moves_to, open_conditions
from gradcheck_lab.probes.support.steadiness import is_steady
from gradcheck_lab.probes.support.stress_causes import cause_of
from gradcheck_lab.subjects.run_lines.function import Watched
from gradcheck_lab.subjects.run_lines.watch import current


def missing_branches(context: Context) -> Iterator[Finding]:
    """Look for values that take each side that no element took yet, and examine the call with those."""
    watch = current()
    if watch is None:
        return
    watch.finished = True
    given: tuple[Any, ...] = ()
    reported: set[tuple[str | None, str | None]] = set()
    for watched in open_conditions()[: MISSING_SIDES.value]:
        given = given or cut_down(context, wide_inputs(context), LANE_ELEMENTS.value)
        side = _missing(watched)
        move = _move(context, given, watched) if given and side else None
        derived = None if move is None else _examined(context, given, move, side)
        if move is None or derived is None or not derived.new_errors or not is_steady(derived):
            continue
        reported |= wrong_gradients_at(context, given)
        for error in derived.new_errors:
            if (error.op, error.gradient) not in reported:
                reported.add((error.op, error.gradient))
                yield _finding(derived, error, side, move)


def _missing(watched: Watched) -> str:
    """The side that no element took; empty where both are taken by now."""
    sides = [side for side, met in zip(watched.condition.sides, (True, False), strict=True) if met not in watched.taken]
    return sides[0] if sides and watched.is_open else ""


def _move(context: Context, given: tuple[Any, ...], watched: Watched) -> Move | None:
    """The first change by which an element takes the missing side; None where none does."""
    for move in islice(moves_to(context, given, watched), TRIES_FOR_A_SIDE.value):
        _try(context, move.change(given))
        if not watched.is_open:
            return move
    return None


def _try(context: Context, inputs: tuple[Any, ...]) -> None:
    """Run forward and backward on these inputs, whatever comes of it: that is looked at where the call is examined."""
    case = derived_case(context, inputs=inputs)
    try:
        recording = context.runner.record(copy_inputs(inputs), case)
        generator = torch.Generator().manual_seed(case.seed)
        drawn = tuple(random_like(o.detach(), generator) for o in recording.outputs if is_differentiable(o))
        context.runner.backward(recording, recording.fixed_grad_outputs or drawn, case.seed)
    except Exception:  # nobody chose these values
        return


def _examined(context: Context, given: tuple[Any, ...], move: Move, side: str) -> DerivedCall | None:
    def draw(seed: int) -> tuple[Any, ...]:
        return move.change(similar_inputs(given)(seed))

    case = derived_case(context, inputs=move.change(given), label=f"{side}: {move.words}")
    return examine_derived_call(context, case, draw=draw)


def _finding(derived: DerivedCall, error: Finding, side: str, move: Move) -> Finding:
    largest = max(float(v.detach().abs().max()) for v in derived.inputs if is_differentiable(v) and v.numel())
    stress = Stress(move.words, lambda row: row, large=largest >= LARGE_VALUES.value)
    cause, why = cause_of(derived, stress, error, lambda milder: None)
    return replace(
        error,
        cause=cause,
        message=f"{error.message}, where {side}",
        explanation=f"right while no element has {side}, wrong with {move.words}: {why or error.explanation}",
        suggestion=CAUSES[cause].fix if cause in having("at_values") else error.suggestion,
        probe="missing_branches",
        case=move.words,
    )
