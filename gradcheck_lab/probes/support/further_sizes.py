"""Sizes that the equal sizes of a call, its axes of size 1 or its lower ranks hide: unequal ones, larger ones, a leading 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.dimensions import NamedDimensions
from gradcheck_lab.model.amounts import SIZES_FOR_ONE
from gradcheck_lab.model.limits import ACCEPTED_SPLITS, ROW_ELEMENTS, TRIED_SPLITS
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.derived_calls import derived_case
from gradcheck_lab.probes.support.size_variants import Variant


def further_variants(
    context: Context, dims: NamedDimensions, given: tuple[Any, ...], most: int | None = None
) -> Iterator[Variant]:
    """Calls that differ from the given one where its sizes are equal or 1, at most `most` of either kind."""
    if dims.declared:
        return
    yield from islice(_unequal_sizes(context, dims, given), most)
    yield from islice(_larger_ones(context, dims, given), most)


def _accepted(context: Context, dims: NamedDimensions, given: tuple[Any, ...], sizes: Mapping[str, int]) -> Variant | None:
    """The variant with these sizes, where the forward takes it and its outputs are finite."""
    draw = partial(dims.inputs, given, sizes)
    inputs = draw(context.case.seed)
    recording = context.record(derived_case(context, inputs=inputs))
    if isinstance(recording, Exception) or not all(bool(torch.isfinite(o).all()) for o in recording.outputs):
        return None
    return Variant("other sizes", inputs, draw, beyond_call=True, by_chance=True)


def _unequal_sizes(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> Iterator[Variant]:
    """Unequal sizes where the call has equal ones by chance: as many queries as keys, or a square matrix."""
    found = 0
    for split in islice(dims.with_independent_sizes(given), TRIED_SPLITS.value):
        one = next(name for name in split.sizes if name not in dims.sizes)
        other = one.removesuffix("'")
        accepted: list[Variant] = []
        for small, large in ((one, other), (other, one)):
            chosen = {name: min(size, 4) for name, size in split.sizes.items()} | {small: 3, large: 6}
            variant = _accepted(context, split, given, chosen)
            accepted += [variant] if variant is not None else []
        yield from accepted
        found += len(accepted)
        if found >= ACCEPTED_SPLITS.value:
            return


def _larger_ones(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> Iterator[Variant]:
    """Axes of size 1 made larger: all of them, by their place from the end or alike, else those of one place.

    Their new sizes occur nowhere else in the call, so that none that is broadcast meets the axis that it is broadcast along.
    """
    tensors = [(i, v) for i, v in enumerate(given) if isinstance(v, torch.Tensor)]
    ones = [(i, k, k - v.ndim) for i, v in tensors for k, size in enumerate(v.shape) if size == 1]
    ends = list(dict.fromkeys(end for _, _, end in ones))
    fixed = {name: min(size, ROW_ELEMENTS.value) for name, size in dims.sizes.items()}
    free = [size for size in SIZES_FOR_ONE.value if size not in fixed.values()]
    if not ends or len(ends) > len(free) or not all(v.numel() for _, v in tensors):
        return
    by_place = dict(zip(ends, free, strict=False))
    together = [by_place, dict.fromkeys(ends, free[0])] if len(ends) > 1 else [by_place]
    for wanted in chain(together, ({end: size} for end, size in by_place.items() if len(ends) > 1)):
        larger = _with_letters(dims, {(i, k): f"1 at {end}" for i, k, end in ones if end in wanted})
        found = _accepted(context, larger, given, fixed | {f"1 at {end}": size for end, size in wanted.items()})
        if found is not None:
            yield found
            if len(wanted) > 1:
                return


def _with_letters(dims: NamedDimensions, letters: Mapping[tuple[int, int], str]) -> NamedDimensions:
    """The dimensions with letters for axes, pairs of an input and an axis, that have none because their size is 1."""
    axes = tuple(tuple(letters.get((i, k), name) for k, name in enumerate(names)) for i, names in enumerate(dims.axes))
    return replace(dims, axes=axes, sizes={**dims.sizes, **dict.fromkeys(letters.values(), 1)})


def leading_ones(context: Context, given: tuple[Any, ...]) -> Iterator[Variant]:
    """A leading axis of size 1 for an input of a lower rank, where the output stays and the gradient does not.

    A gradient of the input's former shape has the same elements, and is not reported. Nor is one of any other shape, unless the
    backward is right for the input at another rank, and so is meant for several: else it may take its length from axis 0.
    """
    rank = max((v.ndim for v in given if isinstance(v, torch.Tensor)), default=0)
    compared = set(range(len(context.gradients))) - context.subject.constants - context.wrong_inputs
    lower = [i for i in sorted(compared) if is_differentiable(given[i]) and 0 < given[i].ndim < rank]
    for i in () if context.case.grad_outputs is None or context.subject.specs else lower:
        with_axis = partial(_expanded, i, (1, *given[i].shape))
        found = context.run(context.case_with(inputs=with_axis(context.case.inputs)))
        wanted = context.gradients[i]
        if found.error is not None or not _same_outputs(context, found.outputs) or not isinstance(wanted, torch.Tensor):
            continue
        mine = found.gradients[i]
        if not isinstance(mine, torch.Tensor) or context.equal(mine.reshape(-1), wanted.reshape(-1)):
            continue
        if mine.shape == (1, *wanted.shape) or _is_right_at_another_rank(context, i, wanted):
            change = f"a leading axis of 1 in {context.name(i)}"
            yield Variant(change, with_axis(given), partial(_always, with_axis(given)), same_outputs=True)


def _is_right_at_another_rank(context: Context, index: int, wanted: torch.Tensor) -> bool:
    """Whether an input repeated along leading axes of an output has a gradient of its shape that adds up to the known one."""
    shapes = {g.shape[k:] for g in context.case.grad_outputs or () for k in range(g.ndim - wanted.ndim)}
    for shape in shapes:
        if shape[-wanted.ndim :] == wanted.shape:
            found = context.run(context.case_with(inputs=_expanded(index, shape, context.case.inputs)))
            mine = found.gradients[index] if found.error is None else None
            if isinstance(mine, torch.Tensor) and mine.shape == shape and context.equal(mine.sum_to_size(wanted.shape), wanted):
                return True
    return False


def _always(inputs: tuple[Any, ...], seed: int) -> tuple[Any, ...]:
    return inputs


def _expanded(index: int, shape: Sequence[int], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(v.expand(shape).clone() if i == index else v for i, v in enumerate(inputs))


def _same_outputs(context: Context, outputs: tuple[Any, ...]) -> bool:
    recording = context.once("recording", lambda: context.record(context.case))
    if isinstance(recording, Exception) or len(outputs) != len(recording.outputs):
        return False
    return all(context.equal(mine, before) for mine, before in zip(outputs, recording.outputs, strict=True))
