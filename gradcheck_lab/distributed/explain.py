"""What went wrong between the ranks, read from what each of them holds of one tensor and from the true one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import torch

from gradcheck_lab.diagnosis import Evidence, Explanation
from gradcheck_lab.distributed.placements import Partial, Placement, Replicate, Shard, placed_on, sum_of, whole_of
from gradcheck_lab.model.limits import ORDERED_RANKS

Own = Callable[[int], torch.Tensor | None]


@dataclass(frozen=True, slots=True)
class Held:
    """What the ranks hold of one tensor: a gradient, or an output. `truth` is the whole one in float64.

    `precision` is what an element of the truth may be off by. `own(rank)` is the whole gradient that the upstream gradient of
    one rank alone gives, None where that is not known.
    """

    parts: tuple[torch.Tensor, ...]
    placement: Placement
    truth: torch.Tensor
    dtype: torch.dtype
    precision: float = 0.0
    own: Own = lambda rank: None

    @property
    def ranks(self) -> int:
        return len(self.parts)

    @property
    def is_whole(self) -> bool:
        """Whether each rank has to hold the whole of it."""
        return not isinstance(self.placement, Shard) and self.placement != Replicate("partial")

    def fits(self, value: torch.Tensor, wanted: torch.Tensor) -> bool:
        """Whether a value is the wanted one but for rounding."""
        return value.shape == wanted.shape and Evidence("", value, wanted, self.dtype, precision=self.precision).fits(wanted)


def explained(held: Held) -> Explanation | None:
    """The mistake between the ranks that accounts for what they hold, None where none of the known ones does."""
    for family in _FAMILIES:
        found = family(held)
        if found is not None:
            return found
    return None


def _not_reduced(held: Held) -> Explanation | None:
    if not held.is_whole or all(torch.equal(held.parts[0], part) for part in held.parts):
        return None
    if not held.fits(sum_of(held.parts), held.truth):
        return None
    return Explanation(
        "missing-reduction",
        f"what the {held.ranks} ranks hold adds up to the true one: each has its own term, and no rank the sum",
        "all-reduce it, or place it as Replicate('partial') where something else reduces it later",
    )


def _reduced_again(held: Held) -> Explanation | None:
    if not _is_everywhere(held, held.ranks * held.truth):
        return None
    fix = "reduce it once; where each rank uses the output for something else, its placement is Replicate('partial')"
    if held.placement == Replicate("partial"):
        fix = "reduce it in one place: here, where its placement is Replicate(), or elsewhere"
    return Explanation(
        "reduced-twice",
        f"it is {held.ranks} times the true one, and {held.ranks} is the number of ranks: equal values were summed over them",
        fix,
    )


def _parts_added(held: Held) -> Explanation | None:
    """Each rank holds the sum, or the mean, of what every rank should hold a part of."""
    if not isinstance(held.placement, Shard):
        return None
    total = sum_of(placed_on(held.truth, held.placement, held.ranks, 0))
    for words, candidate in (("sum", total), ("mean", total / held.ranks)):
        if all(held.fits(part, candidate) for part in held.parts):
            return Explanation(
                "reduced-twice",
                f"each rank holds the {words} of the {held.ranks} ranks' true parts: these are parts of one, no terms of a sum",
                "do not reduce it: what a rank has for its own part is whole",
            )
    return None


def _whole_for_terms(held: Held) -> Explanation | None:
    """An output that is placed as terms of a sum, and is whole on every rank."""
    if not isinstance(held.placement, Partial) or not all(held.fits(part, held.truth) for part in held.parts):
        return None
    return Explanation(
        "reduced-twice",
        f"each rank holds all of it, and as terms of a sum they add up to {held.ranks} times it",
        "its placement is Replicate(), or Replicate('partial') where each rank uses it for something else",
    )


def _averaged(held: Held) -> Explanation | None:
    if not _is_everywhere(held, held.truth / held.ranks):
        return None
    return Explanation(
        "constant-factor",
        f"it is 1/{held.ranks} of the true one, and {held.ranks} is the number of ranks: a mean stands where a sum is due",
        "sum over the ranks, or do not divide by their number",
    )


def _own_part_only(held: Held) -> Explanation | None:
    """Each rank has what its own upstream gradient gives, and nothing of what those of the others add."""
    if held.is_whole:
        return None
    known = [held.own(rank) for rank in range(held.ranks)]
    if any(each is None or not bool(each.any()) for each in known):
        return None
    for rank, each in enumerate(known):
        assert each is not None
        wanted = placed_on(each, held.placement, held.ranks, 0)[rank]
        if not bool(wanted.any()) or not held.fits(held.parts[rank], wanted):
            return None
    return Explanation(
        "missing-reduction",
        "each rank has what its own upstream gradient gives, and nothing of the other ranks': it is cut where a sum is due",
        "reduce and scatter grad_output instead of taking this rank's part of it",
    )


def _in_another_order(held: Held) -> Explanation | None:
    actual = whole_of(held.parts, held.placement, 0)
    if actual.shape != held.truth.shape or (held.is_whole and not all(held.fits(p, held.parts[0]) for p in held.parts)):
        return None
    for words, candidate in _orders(held.truth, held.ranks):
        if not held.fits(candidate, held.truth) and held.fits(actual, candidate):
            return Explanation(
                "rank-order",
                f"it has the right parts in another order: {words}",
                "cut and join in the order of the ranks, along the dimension that the forward takes",
            )
    return None


def _orders(truth: torch.Tensor, ranks: int) -> Iterator[tuple[str, torch.Tensor]]:
    """The true tensor with the parts of the ranks in every other order, along each dimension that they can share."""
    for dim, size in enumerate(truth.shape):
        if size % ranks or not size:
            continue
        parts = truth.tensor_split(ranks, dim)
        for order in _permutations(ranks):
            yield f"{', '.join(map(str, order))} along dimension {dim}", torch.cat([parts[k] for k in order], dim)
        rest = size // ranks
        if rest > 1:
            for split in ((ranks, rest), (rest, ranks)):
                swapped = truth.unflatten(dim, split).transpose(dim, dim + 1).flatten(dim, dim + 1)
                yield f"interleaved along dimension {dim}", swapped
        if rest % ranks == 0 and rest > ranks:
            grid = truth.unflatten(dim, (ranks, ranks, rest // ranks))
            yield f"blocks of two ranks swapped along dimension {dim}", grid.transpose(dim, dim + 1).flatten(dim, dim + 2)


def _permutations(ranks: int) -> Iterator[tuple[int, ...]]:
    given = tuple(range(ranks))
    if ranks <= ORDERED_RANKS.value:
        yield from (order for order in permutations(given) if order != given)
        return
    yield given[::-1]
    yield from ((*given[k:], *given[:k]) for k in range(1, ranks))


def _is_everywhere(held: Held, wanted: torch.Tensor) -> bool:
    if held.is_whole:
        return all(held.fits(part, wanted) for part in held.parts)
    whole = whole_of(held.parts, held.placement, 0) if isinstance(held.placement, Shard) else sum_of(held.parts)
    return held.fits(whole, wanted)


_FAMILIES = (
    _not_reduced,
    _reduced_again,
    _parts_added,
    _whole_for_terms,
    _averaged,
    _own_part_only,
    _in_another_order,
)
