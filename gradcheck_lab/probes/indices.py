"""The gradient is right for any integers in range: repeated indices, one index throughout, the bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.case import is_differentiable
from gradcheck_lab.probes.context import Context
from gradcheck_lab.probes.derived import Trial, attempt, blank, wide_inputs
from gradcheck_lab.probes.letters import cut_down
from gradcheck_lab.report import Finding

_LARGEST = 16


def indices(context: Context) -> Iterator[Finding]:
    """Put repeated, equal and extreme indices in the place of the integer inputs, within the range of the given ones."""
    given = cut_down(context, wide_inputs(context), _LARGEST)
    which = [i for i, value in enumerate(given) if _holds_integers(value)]
    if not which or not context.analytic:
        return
    reported: set[str | None] = set()
    for words, change in (("repeated", _repeated), ("all equal", _equal), ("at the bounds of their range", _bounds)):
        inputs = tuple(change(v) if i in which else v for i, v in enumerate(given))
        names = " and ".join(context.name(i) for i in which)
        condition = f"the indices in {names} {words}"
        trial = attempt(context, blank(context, inputs=inputs, label=condition))
        for problem in () if trial is None else trial.problems:
            if problem.gradient not in reported and trial is not None:
                reported.add(problem.gradient)
                yield _finding(trial, which, problem, condition)


def _holds_integers(value: Any) -> bool:
    if not isinstance(value, torch.Tensor) or is_differentiable(value) or value.dtype == torch.bool:
        return False
    return value.numel() > 1


def _repeated(value: torch.Tensor) -> torch.Tensor:
    """Three of the given values in turn, none equally often."""
    flat = value.reshape(-1)
    few = flat[:: max(1, flat.numel() // 3)][:3]
    order = torch.tensor([0, 1, 0, 2, 0, 1], device=value.device) % few.numel()
    return few[order.repeat(flat.numel() // 6 + 1)[: flat.numel()]].reshape(value.shape)


def _equal(value: torch.Tensor) -> torch.Tensor:
    return value.reshape(-1)[:1].expand(value.numel()).clone().reshape(value.shape)


def _bounds(value: torch.Tensor) -> torch.Tensor:
    low, high = value.min(), value.max()
    flat = torch.where(torch.arange(value.numel(), device=value.device) % 2 == 0, low, high)
    return flat.reshape(value.shape)


def _finding(trial: Trial, which: list[int], problem: Finding, condition: str) -> Finding:
    shares = None if problem.cause == "raises" else _shares(trial, which, problem)
    if shares:
        cause, why = "duplicate-index", shares
        fix = "add instead of writing: index_add_, scatter_add_, index_put_(accumulate=True) or np.add.at"
    else:
        cause, why, fix = "value-dependent", problem.explanation, "derive the rule again for these indices"
    return replace(
        problem,
        cause=cause,
        message=f"{problem.message}, with {condition}",
        explanation=f"right on the indices given, wrong with {condition}: {why}",
        suggestion=fix,
        probe="indices",
        case=condition,
    )


def _shares(trial: Trial, which: list[int], problem: Finding) -> str:
    """Whether the wrong rows are only those hit more than once; the sentence, with how often."""
    pair = trial.pair(problem)
    if pair is None or not pair[1].ndim:
        return ""
    wrong = ~((pair[0] - pair[1]).abs() <= 1e-6 * pair[1].abs().amax())
    for i in which:
        hits = torch.bincount(trial.inputs[i].reshape(-1).clamp(min=0).long().cpu())
        for axis in range(wrong.ndim):
            if wrong.shape[axis] < hits.numel():
                continue
            rows = wrong.movedim(axis, 0).reshape(wrong.shape[axis], -1).any(1).nonzero().reshape(-1).tolist()
            if rows and all(row < hits.numel() and int(hits[row]) > 1 for row in rows):
                row = rows[0]
                return f"along axis {axis} only the rows hit more than once are wrong; row {row} is hit {int(hits[row])} times"
    return ""
