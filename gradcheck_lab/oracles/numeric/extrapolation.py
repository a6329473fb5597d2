"""Limits as the step goes to zero, with a bound on their error (Ridders, "Accurate computation of F'(x) and F'(x)F''(x)",
Advances in Engineering Software 4, 1982), for many sequences at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from gradcheck_lab.model.precision.numbers import SHRINKING_CHANGES


@dataclass(slots=True)
class Limit:
    """The best limit so far of each sequence, its error, infinite where none was found, and the first step of its stage."""

    value: torch.Tensor
    error: torch.Tensor
    start: torch.Tensor

    @classmethod
    def unknown(cls, like: torch.Tensor) -> Limit:
        """Nothing known yet about sequences as many as `like` has elements."""
        return cls(torch.zeros_like(like), torch.full_like(like, math.inf), torch.full_like(like, math.inf))

    def merge(self, value: torch.Tensor, error: torch.Tensor, start: float) -> None:
        """Take the more certain of two limits; where they contradict each other, the one found with smaller steps."""
        conflict = ((value - self.value).abs() > error + self.error) & torch.isfinite(error)
        take = torch.where(conflict, start < self.start, error < self.error)
        self.value = torch.where(take, value, self.value)
        self.error = torch.where(take, error, self.error)
        self.start = torch.where(take, torch.full_like(self.start, start), self.start)


def extrapolate(rows: torch.Tensor, noise: torch.Tensor, base: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The limits of sequences taken at steps h, h/2, h/4, ...; `rows` and `noise` are (steps, sequences).

    Their error expands in powers of 1/`base` per halving: 4 for central differences, 2 for one-sided ones. `noise` bounds the
    rounding error of each entry. Returns value and error, (sequences,), the error infinite where nothing converged.
    """
    table = _table(rows, base)
    penalty = _irregularity(rows, noise, base)
    value, error = torch.zeros_like(rows[0]), torch.full_like(rows[0], math.inf)
    level = torch.zeros_like(rows[0])
    for k in range(1, len(table)):
        for j, entry in enumerate(table[k]):
            if j == 0:
                spread = 2 * (entry - table[k - 1][0]).abs()
            else:
                spread = torch.maximum((entry - table[k][j - 1]).abs(), (entry - table[k - 1][j - 1]).abs())
            found = torch.nan_to_num(spread + 4 * noise[k] + penalty[k], math.inf, math.inf, math.inf)
            better = found < error
            value = torch.where(better, entry, value)
            error = torch.where(better, found, error)
            level = torch.where(better, torch.full_like(level, k), level)
    return value, error + _contradiction(table, noise, penalty, value, error, level)


def _table(rows: torch.Tensor, base: int) -> list[list[torch.Tensor]]:
    table: list[list[torch.Tensor]] = []
    for k, row in enumerate(rows):
        table.append([row])
        for j in range(1, k + 1):
            factor = float(base**j)
            table[k].append((factor * table[k][j - 1] - table[k - 1][j - 1]) / (factor - 1))
    return table


def _irregularity(rows: torch.Tensor, noise: torch.Tensor, base: int) -> list[torch.Tensor]:
    """What has to be added where successive differences do not shrink as a smooth function's do."""
    penalty = [torch.full_like(rows[0], math.inf)]
    before: torch.Tensor | None = None
    for k in range(1, len(rows)):
        change = (rows[k] - rows[k - 1]).abs()
        silent = change <= 8 * noise[k]
        if before is None:
            found = 2 * change
        else:
            ratio = change / before
            tail = torch.where(
                ratio < SHRINKING_CHANGES.value, 4 * change * ratio / (1 - ratio), torch.full_like(change, math.inf)
            )
            found = torch.where(ratio <= (1 / base + 1) / 2, torch.zeros_like(change), tail)
        penalty.append(torch.where(silent, torch.zeros_like(change), found))
        before = change
    if len(penalty) > 2:
        penalty[1] = torch.maximum(penalty[1], penalty[2])
    return penalty


def _contradiction(
    table: list[list[torch.Tensor]],
    noise: torch.Tensor,
    penalty: list[torch.Tensor],
    value: torch.Tensor,
    error: torch.Tensor,
    level: torch.Tensor,
) -> torch.Tensor:
    """By how much the finer steps contradict the chosen limit."""
    found = torch.zeros_like(value)
    for k in range(2, len(table)):
        width = (table[k][1] - table[k][0]).abs() + 8 * noise[k] + penalty[k]
        excess = (table[k][1] - value).abs() - width - error
        found = torch.where((level < k) & (excess > found), excess, found)
    return found
