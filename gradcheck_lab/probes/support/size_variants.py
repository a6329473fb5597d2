"""Inputs of other sizes, ranks and broadcasts, drawn to be similar to those of a call."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import cycle, islice
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.dimensions import NamedDimensions, Sizes, dimensions_of
from gradcheck_lab.calls.drawn_again import Draw
from gradcheck_lab.calls.similar_values import similar_values
from gradcheck_lab.model.amounts import SIZE_CYCLES, SIZES_OF_ONE_DIMENSION
from gradcheck_lab.model.limits import (
    KERNEL_BLOCK,
    LONG_AXIS,
    LONG_AXIS_SQUARED,
    LONG_CALL_ELEMENTS,
    ROW_ELEMENTS,
    SIZES_BESIDE_BLOCKS,
)
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.derived_calls import derived_case
from gradcheck_lab.probes.support.implied_contract import operation_count
from gradcheck_lab.probes.support.kernel_calls import beside_blocks, kernel_calls
from gradcheck_lab.specs import Spec

ONE_MORE_LEADING = "one more leading dimension"


@dataclass(frozen=True, slots=True)
class Variant:
    """Inputs of other sizes, and others of these sizes by `draw`; `change` is what messages call the difference.

    `beyond_call` is set where nothing in the user's call says that such inputs are to be supported, `only_batch` where only the
    number of rows differs, and `batch_guessed` where inputs may share their first size by chance, `by_chance` where it
    is taken for chance that sizes are equal or 1, `same_outputs` where the forward gives what it gives at the user's sizes,
    and `only_numbers` where a backward that raises or returns another shape says nothing.
    """

    change: str
    inputs: tuple[Any, ...]
    draw: Draw
    beyond_call: bool = False
    broadcast: bool = False
    empty: bool = False
    only_batch: bool = False
    batch_guessed: bool = False
    by_chance: bool = False
    same_outputs: bool = False
    only_numbers: bool = False


def variants(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> Iterator[Variant]:
    seed, names = context.case.seed, list(dims.sizes)
    batch = dims.batch

    def variant(change: str, sizes: Sizes, lead: int | None = None, **said: bool) -> Variant:
        draw = partial(dims.inputs, given, sizes, lead=lead)
        return Variant(change, draw(seed), draw, **said)

    if batch is not None:
        small = {name: min(size, 7) for name, size in dims.sizes.items()}
        same = {name: min(size, ROW_ELEMENTS.value) for name, size in dims.sizes.items() if name != batch}
        only = all(size <= ROW_ELEMENTS.value for name, size in dims.sizes.items() if name != batch)
        leads = all(batch not in axes[1:] for axes in dims.axes)
        yield variant("batch 1", {**same, batch: 1}, only_batch=only and leads)
        if context.uses_autograd and _has_rows(context, dims, given):
            guessed = _has_equal_sizes_by_chance(context, dims, given)
            yield variant(ONE_MORE_LEADING, small, 2, beyond_call=not dims.declared, batch_guessed=guessed)
    yield from _without_leading_dimensions(context, dims, given)
    for sizes in SIZE_CYCLES.value if len(names) > 1 else SIZES_OF_ONE_DIMENSION.value:
        chosen = dict(zip(names, cycle(sizes), strict=False))
        if names and chosen != dims.sizes:
            yield variant("other sizes", chosen)
    if batch is not None:
        yield variant("batch 0", {**small, batch: 0}, empty=True)
    if context.uses_autograd:
        yield from _broadcasts(context, dims, given)
        yield from _declared_broadcasts(context, dims, given)
    calls = kernel_calls(context)
    if calls:
        for beside in islice(beside_blocks(context, dims, calls[0].seen), SIZES_BESIDE_BLOCKS.value):
            yield variant("sizes beside a kernel's block", beside)
    if not calls or any(n > KERNEL_BLOCK.value for n in calls[0].seen.blocks):
        yield from _long_axes(context, dims, given)


def _without_leading_dimensions(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> Iterator[Variant]:
    """No leading dimension at all, where specs declare that any number of them may be: `*b` stands for none too."""
    specs = context.subject.specs
    if not dims.declared or all(v.ndim == sum(not dim.variadic for dim in s.dims) for s, v in zip(specs, given, strict=True)):
        return
    if any(not value.numel() for value in given):
        return
    single = tuple(_first_of_leading(spec, value) for spec, value in zip(specs, given, strict=True))
    without = dimensions_of(single, specs)
    if without.declared:
        draw = partial(without.inputs, single, without.sizes)
        yield Variant("no leading dimension", draw(context.case.seed), draw)


def _first_of_leading(spec: Spec, value: torch.Tensor) -> torch.Tensor:
    before = next((k for k, dim in enumerate(spec.dims) if dim.variadic), None)
    while before is not None and value.ndim > len(spec.dims) - 1:
        value = value.select(before, 0)
    return value


def _has_rows(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> bool:
    """Whether the first differentiable input gets the new leading dimension; where only weights would, there are no rows."""
    first = next((i for i, v in enumerate(given) if is_differentiable(v) and v.ndim), None)
    return first in dims.batch_inputs and not any(i in context.subject.parameters for i in dims.batch_inputs)


def _has_equal_sizes_by_chance(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> bool:
    """Whether inputs have first dimensions of equal size by chance, as square matrices do.

    It is no chance where the forward raises once the number of rows differs between them.
    """
    batch = dims.batch
    if batch is None or len(dims.batch_inputs) < 2 or all(batch not in axes[1:] for axes in dims.axes):
        return False
    if not context.uses_autograd:  # a kernel may trust them to be equal
        return True
    split = dims.split(batch, frozenset((i, 0) for i in dims.batch_inputs))
    sizes = {**split.sizes, f"{batch}'": split.sizes[batch] + 1}
    return isinstance(context.record(derived_case(context, inputs=split.inputs(given, sizes, context.case.seed))), Exception)


def _long_axes(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> Iterator[Variant]:
    """One dimension longer than any kernel's block, the others short; not for a dimension that the forward loops over."""
    seed, short = context.case.seed, {name: min(size, 3) for name, size in dims.sizes.items()}

    @cache
    def operations(letter: str, size: int) -> tuple[int, int]:
        return operation_count(context, dims.inputs(given, {**short, letter: size}, seed), context.case)

    for letter in (last := list(dims.sizes)[-2:]):
        few, small = operations(last[0] if short[letter] == 3 == short[last[0]] else letter, 3)
        many, large = operations(letter, 9)
        if few != many:
            continue
        # the dimension may occur twice in an intermediate, as in a matrix of scores: then a shorter one has to do
        chosen = {**short, letter: (LONG_AXIS if large <= 4 * small else LONG_AXIS_SQUARED).value}
        shapes = [[chosen[name] if name else n for name, n in zip(axes, v.shape, strict=True)]
                  for axes, v in zip(dims.axes, given, strict=True) if isinstance(v, torch.Tensor)]  # fmt: skip
        total = sum(math.prod(shape) for shape in shapes)
        if all(axes.count(letter) < 2 for axes in dims.axes) and total <= LONG_CALL_ELEMENTS.value:
            draw = partial(dims.inputs, given, chosen)
            yield Variant("other sizes", draw(seed), draw)


def _broadcasts(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> Iterator[Variant]:
    """A column and a row for two operands of equal shape; beyond the call unless the specs declare broadcasting with `#`."""
    specs = context.subject.specs
    operands = [i for i, v in enumerate(given) if is_differentiable(v) and i not in context.subject.constants]
    if len(operands) != 2 or len(given) != 2 or given[0].shape != given[1].shape or not given[0].ndim:
        return
    declared = bool(specs) and dims.declared
    if declared and not all(dim.broadcast and dim.variadic for spec in specs for dim in spec.dims):
        return

    def draw(seed: int) -> tuple[Any, ...]:
        generator = torch.Generator().manual_seed(seed)
        return tuple(similar_values(v, shape, generator) for v, shape in zip(given, ((3, 1), (5,)), strict=True))

    yield Variant("a column against a row", draw(context.case.seed), draw, not declared, broadcast=True)


def _declared_broadcasts(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> Iterator[Variant]:
    """Each input in turn with size 1 wherever the specs let it broadcast, beside others that have all their rows."""
    if not dims.declared:
        return
    small = {name: min(size, ROW_ELEMENTS.value) for name, size in dims.sizes.items()}
    for index, (letters, spec) in enumerate(zip(dims.axes, context.subject.specs, strict=True)):
        broadcast = {dim.name for dim in spec.dims if dim.broadcast}
        ones = [k for k, letter in enumerate(letters) if letter is not None and letter.partition(".")[0] in broadcast]
        if ones:
            draw = partial(_with_ones, dims, given, small, index, ones)
            yield Variant(f"{context.name(index)} broadcast", draw(context.case.seed), draw, broadcast=True)


def _with_ones(
    dims: NamedDimensions, given: tuple[Any, ...], sizes: Sizes, index: int, axes: Sequence[int], seed: int
) -> tuple[Any, ...]:
    drawn = list(dims.inputs(given, sizes, seed))
    for axis in axes:
        drawn[index] = drawn[index].narrow(axis, 0, min(1, drawn[index].shape[axis])).contiguous()
    return tuple(drawn)
