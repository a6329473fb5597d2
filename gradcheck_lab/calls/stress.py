"""Stress values: patterns that put zeros, ties, bounds, or large, tiny, constant and saturated values in rows of an input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.kinds import ASIDE, TIED
from gradcheck_lab.calls.masks import hides_scores
from gradcheck_lab.calls.similar_values import Structures, structure_of

Pattern = Callable[[torch.Tensor], torch.Tensor]


def one_zero(row: torch.Tensor) -> torch.Tensor:
    row[..., :1] = 0
    return row


def two_zeros(row: torch.Tensor) -> torch.Tensor:
    row[..., :1] = 0
    row[..., -1:] = 0
    return row


def all_zero(row: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(row)


def whole_numbers(row: torch.Tensor) -> torch.Tensor:
    cycle = torch.tensor([1.0, -1.0, 0.0, 1.0, 2.0, -2.0, 6.0, -6.0], dtype=row.dtype, device=row.device)
    return cycle.repeat(row.numel() // 8 + 1)[: row.numel()].reshape(row.shape)


def all_equal(row: torch.Tensor) -> torch.Tensor:
    return torch.full_like(row, TIED)


def dominated(row: torch.Tensor) -> torch.Tensor:
    row[..., :1] = 50.0
    return row


def masked(row: torch.Tensor) -> torch.Tensor:
    row[..., -1:] = -1e4
    return row


def spread(row: torch.Tensor) -> torch.Tensor:
    places = torch.linspace(-30, 30, max(row.numel(), 2), dtype=torch.float64)[: row.numel()]
    order = torch.randperm(row.numel(), generator=torch.Generator().manual_seed(row.numel()))
    return row + places[order].to(row).reshape(row.shape)


def some_ties(row: torch.Tensor) -> torch.Tensor:
    # two largest and three smallest: with equal counts, errors at both could cancel
    if row.shape[-1] < 5:
        return all_equal(row)
    generator = torch.Generator().manual_seed(row.numel())
    row += ASIDE
    for each in row.reshape(-1, row.shape[-1]):  # at different positions in each row, so that all columns are alike
        place = torch.randperm(row.shape[-1], generator=generator)[:5].to(row.device)
        each[place[:2]], each[place[2:]] = each.max(), each.min()
    return row


def times(scale: float) -> Pattern:
    """Every value times `scale`."""
    return lambda row: row * scale


def away_by(distance: float) -> Pattern:
    """Every value further from zero by `distance`."""
    return lambda row: torch.where(row < 0, -distance, distance) + row


def negated(row: torch.Tensor) -> torch.Tensor:
    return -row


def made_unequal(row: torch.Tensor) -> torch.Tensor:
    noise = torch.rand(row.shape, generator=torch.Generator().manual_seed(row.numel()), dtype=torch.float64) - 0.5
    return row + 0.6 * noise.to(row) * row.abs().clamp(min=1)


@dataclass(frozen=True, slots=True)
class Stress:
    """A pattern of values: its description in messages, its function of rows, and what kind of values it makes."""

    words: str
    pattern: Pattern
    large: bool = False
    tied: bool = False
    near_zero: bool = False
    entry: bool = False  # single outliers, which occur in data and not in weights
    free: bool = False  # the result need not keep the range, sign or structure of the input


ONE_ZERO = Stress("one zero in each row", one_zero, near_zero=True)
TWO_ZEROS = Stress("two zeros in each row", two_zeros, near_zero=True)
ALL_ZERO = Stress("all values zero", all_zero, tied=True, near_zero=True)
WHOLE = Stress("whole numbers: ties and bounds", whole_numbers)
EQUAL = Stress("all values equal", all_equal, tied=True, near_zero=True)
DOMINATED = Stress("one entry of 50 that dominates each row", dominated, large=True, entry=True)
MASKED = Stress("one entry of -1e4 in each row, as masks leave it", masked, large=True, entry=True)
SPREAD = Stress("values from -30 to 30", spread, large=True, entry=True)
TIES = Stress("two equal largest and three equal smallest values in each row", some_ties, tied=True)
TINY = Stress("values of about 1e-8", times(1e-8), near_zero=True)
SMALL = Stress("values of about 1e-4", times(1e-4), near_zero=True)
WIDER = Stress("values of two and a half times the range", times(2.5), large=True)
HUNDREDS = Stress("values of about ±1e2", away_by(1e2), large=True)
THOUSANDS = Stress("values of about ±1e3", away_by(1e3), large=True)
NEGATED = Stress("values of the other sign", negated, free=True)
MADE_ASYMMETRIC = Stress("values that are not symmetric", made_unequal, free=True)
MADE_UNEQUAL = Stress("values that are not all the same", made_unequal, free=True)

GROUPS: tuple[tuple[Stress, ...], ...] = (
    (EQUAL,),  # ties first: zeros are tied too, so a failure at ties explains one at zeros
    (TIES,),
    (ONE_ZERO, WHOLE, TWO_ZEROS, ALL_ZERO),
    (SMALL, TINY),
    (HUNDREDS,),
    (THOUSANDS,),
    (DOMINATED, MASKED),
    (SPREAD,),
)


def about(scale: float) -> Stress:
    """The user's values multiplied by `scale`."""
    return Stress(f"values of about {scale}", times(scale))


def away(distance: float) -> Stress:
    """The user's values moved away from zero by `distance`."""
    return Stress(f"values of about ±{distance:g}", away_by(distance), large=True)


def beside(bounds: Sequence[float]) -> Stress:
    """Values a tenth smaller and larger than each of some bounds, in turn."""
    values = [bound * factor for bound in bounds for factor in (0.9, 1.1)]

    def pattern(row: torch.Tensor) -> torch.Tensor:
        cycle = torch.tensor(values, dtype=row.dtype, device=row.device)
        return cycle.repeat(row.numel() // len(values) + 1)[: row.numel()].reshape(row.shape)

    return Stress(f"values beside {', '.join(f'{bound:g}' for bound in bounds)} of the code", pattern)


def stressed(
    given: Sequence[Any], group: Sequence[Stress], which: Sequence[int], structures: Structures, mixed: bool = False
) -> tuple[Any, ...]:
    """The inputs with the group's patterns applied to their rows in turn.

    `which` are the inputs to change, by index. With `mixed`, further rows have a pattern in one input only.
    """
    made = list(given)
    alone: list[tuple[Stress, int | None]] = [(stress, i) for stress in group for i in which[:2]]
    turns: list[tuple[Stress, int | None]] = [(stress, None) for stress in group]
    if mixed and len(which) > 1:
        turns = alone if all(stress.large for stress in group) else [pair for k in range(len(group)) for pair in
                                                                     (turns[k], *alone[2 * k : 2 * k + 2])]  # fmt: skip
    for i in which:
        value = given[i]
        rows = value.detach().clone().reshape(-1, value.shape[-1] if value.ndim > 1 else 1)
        for start, (stress, only) in enumerate(turns):
            if start < rows.shape[0] and only in (None, i):
                rows[start :: len(turns)] = stress.pattern(rows[start :: len(turns)].clone())
        shaped = rows.reshape(value.shape)
        made[i] = shaped if all(stress.free for stress in group) else structures.of(value).applied(shaped)
    return tuple(made)


def unseen_values(value: torch.Tensor) -> Stress | None:
    """A pattern of values that an input lacks: different ones where all are equal, others across the diagonal of a symmetric
    matrix, negative ones where all are positive.

    None where it lacks none. A matrix that is positive definite and not diagonal is no symmetric one by chance: covariances and
    kernels are, and rules for them may use it; nor is an identity, whose rows may be labels.
    """
    if value.numel() < 2:
        return None
    low, high = float(value.min()), float(value.max())
    if low == high:
        return MADE_UNEQUAL
    structure = structure_of(value)
    if structure.symmetric and not structure.one_hot and (structure.triangle or not _is_definite(value)):
        return MADE_ASYMMETRIC
    rows = value.double().sum(-1) if value.ndim else value
    return NEGATED if low > 0 and not bool(((rows - 1).abs() < 1e-3).all()) else None


def _is_definite(value: torch.Tensor) -> bool:
    return not bool(torch.linalg.cholesky_ex(value.double()).info.any())


def can_be_stressed(value: Any) -> bool:
    """Whether stress values make sense for an input: a real floating tensor with elements that is no mask."""
    if not is_differentiable(value) or value.is_complex() or not value.numel() or hides_scores(value):
        return False
    return value.numel() < 4 or not bool(((value == 0) | (value == 1)).all())
