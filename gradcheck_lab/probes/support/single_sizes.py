"""Sizes that cycles of all dimensions do not reach: a row alone, one dimension alone, and a dimension split in two."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.dimensions import NamedDimensions
from gradcheck_lab.calls.similar_values import similar_values
from gradcheck_lab.model.limits import ROW_ELEMENTS, SINGLE_SIZES
from gradcheck_lab.model.precision.derived_calls import MAPPED, MAPPED_NEAR_ZERO
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.derived_calls import derived_case
from gradcheck_lab.probes.support.size_variants import ONE_MORE_LEADING, Variant


def single_sizes(
    context: Context, dims: NamedDimensions, given: tuple[Any, ...], most: int | None, passed: Collection[str]
) -> Iterator[Variant]:
    """Variants of a call without specs; of these only wrong numbers count. At most `most` of one dimension alone.

    `passed` are the changes whose calls were right.
    """
    if dims.declared or any(isinstance(v, torch.Tensor) and not v.numel() for v in given):
        return
    if ONE_MORE_LEADING in passed:
        yield from _row_alone(context, dims, given)
    yield from _split_last(context, given)
    yield from islice(_one_alone(context, dims, given), most if most is not None else SINGLE_SIZES.value)


def _row_alone(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> Iterator[Variant]:
    """No leading dimension, where the forward gives for a row alone what it gives for it among others.

    A backward may sum over rows all the same, and then means them to be there: it has to be right for rows of rows too.
    """
    rows = dims.batch_inputs
    if any(given[i].ndim < 2 for i in rows):
        return
    if any(not given[i].shape[0] for i in rows):
        return
    alone = tuple(v[0] if i in rows else v for i, v in enumerate(given))
    mine, together = _outputs(context, alone), _outputs(context, given)
    if len(mine) != len(together) or not all(o.ndim and len(o) for o in together):
        return
    if mine and all(_equal(a, o[0]) for a, o in zip(mine, together, strict=True)):
        draw = partial(_similar, alone)
        yield Variant("no leading dimension", draw(context.case.seed), draw, same_outputs=True, only_numbers=True)


def _split_last(context: Context, given: tuple[Any, ...]) -> Iterator[Variant]:
    """One more dimension at the end, where the forward treats the last two as it treats them in one."""
    first = next((v for v in given if is_differentiable(v)), None)
    if first is None or first.ndim < 3:
        return
    chosen = [i for i, v in enumerate(given) if isinstance(v, torch.Tensor) and v.shape == first.shape]
    draw = partial(_with_last, given, chosen)
    split = draw(context.case.seed)
    joined = tuple(v.flatten(-2) if i in chosen else v for i, v in enumerate(split))
    mine, flat = _outputs(context, split), _outputs(context, joined)
    if mine and len(mine) == len(flat) and all(_equal(a.reshape(-1), b.reshape(-1)) for a, b in zip(mine, flat, strict=True)):
        yield Variant("the last dimension split in two", split, draw, same_outputs=True, only_numbers=True)


def _one_alone(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> Iterator[Variant]:
    """One dimension below another, an option or what it is, or 1, and all others as they are, whatever it was a multiple of.

    A batch of 1 is another variant's.
    """
    if max(dims.sizes.values(), default=0) > ROW_ELEMENTS.value:
        return
    options = [v for v in (*context.case.inputs, *context.case.options.values()) if type(v) is int and v > 1]
    others = sorted({*dims.sizes.values(), *options}, reverse=True)
    for letter, size in sorted(dims.sizes.items(), key=lambda item: -item[1]):
        alone = replace(dims, free=frozenset({letter}))
        for chosen in dict.fromkeys([size - 1, *(other - 1 for other in others if other < size), 1]):
            if 0 < chosen < size and (chosen > 1 or letter != dims.batch):
                draw = partial(alone.inputs, given, {**dims.sizes, letter: chosen})
                yield Variant("other sizes", draw(context.case.seed), draw, only_numbers=True)


def _outputs(context: Context, inputs: tuple[Any, ...]) -> list[torch.Tensor]:
    """The outputs of the forward at these inputs; none where it refuses them, or gives one that is not finite."""
    if all(a is b for a, b in zip(inputs, context.case.inputs, strict=True)):
        recording = context.once("recording", lambda: context.record(context.case))
    else:
        recording = context.record(derived_case(context, inputs=inputs))
    found = [] if isinstance(recording, Exception) else [o for o in recording.outputs if is_differentiable(o)]
    return found if all(bool(torch.isfinite(o).all()) for o in found) else []


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one.double(), other.double(), MAPPED.value, MAPPED_NEAR_ZERO.value)


def _similar(given: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(similar_values(v, tuple(v.shape), generator) if is_differentiable(v) else v for v in given)


def _with_last(given: tuple[Any, ...], chosen: list[int], seed: int) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(similar_values(v, (*v.shape, 2), generator) if i in chosen else v for i, v in enumerate(given))
