"""The gradient is right at every size that the forward accepts, not only at the user's or at multiples of a block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import cycle, islice
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.dimensions import NamedDimensions, Sizes, dimensions_of
from gradcheck_lab.calls.moves import moved, random_normal
from gradcheck_lab.calls.similar_values import similar_values
from gradcheck_lab.model.amounts import SIZE_CYCLES, SIZES_OF_ONE_DIMENSION, TIES_APART
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import (
    ACCEPTED_SPLITS,
    LONG_AXIS,
    LONG_AXIS_SQUARED,
    LONG_CALL_ELEMENTS,
    ROW_ELEMENTS,
    TRIED_SPLITS,
)
from gradcheck_lab.model.precision import is_narrow
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.derived_calls import (
    DerivedCall,
    Draw,
    derived_case,
    examine_derived_call,
    repeated_index_text,
    shapes_text,
    wide_inputs,
)
from gradcheck_lab.probes.support.implied_contract import is_implied, operation_count
from gradcheck_lab.probes.support.unwritten_tail import unwritten_tail_text
from gradcheck_lab.specs import Spec


@dataclass(frozen=True, slots=True)
class Variant:
    """Inputs of other sizes, and others of these sizes by `draw`; `change` is what messages call the difference.

    `beyond_call` is set where nothing in the user's call says that such inputs are to be supported, `only_batch` where only the
    number of rows differs, and `batch_guessed` where inputs may share their first size by chance.
    """

    change: str
    inputs: tuple[Any, ...]
    draw: Draw
    beyond_call: bool = False
    broadcast: bool = False
    empty: bool = False
    only_batch: bool = False
    batch_guessed: bool = False


def sizes(context: Context) -> Iterator[Finding]:
    """Run the same op at other sizes, ranks and broadcasts, where the user's forward accepts them."""
    if not context.uses_autograd:
        return
    given = wide_inputs(context, widest=True)
    dims = dimensions_of(given, context.subject.specs)
    found: dict[tuple[str | None, str | None], Finding] = {}
    # a NumPy forward is traced again for every shape, which takes about a second
    state = context.subject.state
    max_variants = 4 if state is not None and state.numpy else None
    for variant in islice(_variants(context, dims, given), max_variants):
        case = derived_case(context, inputs=variant.inputs, label=variant.change)
        # a reference may be written for the ranks and equal sizes of the call
        derived = examine_derived_call(context, case, forward=not variant.beyond_call, draw=variant.draw)
        if derived is not None and derived.new_errors and not dims.declared and not variant.broadcast:
            outputs = derived.examined.case.grad_outputs or ()
            derived = derived if is_implied(context, derived.case, outputs) else None
        for new_error in () if derived is None else derived.new_errors:
            if derived is None or new_error.cause in having("ties"):
                continue
            if repeated_index_text(derived, new_error) or _is_from_ties(context, derived, new_error):
                continue
            if _is_from_dtype(context, variant, new_error):
                continue
            finding, key = _finding(context, derived, variant, new_error), (new_error.op, new_error.gradient)
            if _is_from_values(context, dims, given, key):
                finding = _as_value_dependent(finding)
            known = found.get(key)
            if known is None or _says_more(finding, known):
                found[key] = finding
    yield from found.values()


def _is_from_ties(context: Context, derived: DerivedCall, new_error: Finding) -> bool:
    """Whether an error is gone when repeated values are made different, so that ties cause it and not sizes."""
    index = derived.input_index(new_error)
    value = derived.inputs[index] if index is not None else None
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.unique().numel() == value.numel():
        return False
    generator = torch.Generator().manual_seed(context.case.seed)
    without_ties = tuple(
        moved(v, TIES_APART.value, random_normal(v, generator)) if i == index else v for i, v in enumerate(derived.inputs)
    )
    again = examine_derived_call(context, derived_case(context, inputs=without_ties))
    return again is not None and all((f.op, f.gradient) != (new_error.op, new_error.gradient) for f in again.new_errors)


def _is_from_values(
    context: Context, dims: NamedDimensions, given: tuple[Any, ...], key: tuple[str | None, str | None]
) -> bool:
    """Whether other values at the user's sizes have the same error, so that values cause it and not sizes."""
    case = derived_case(context, inputs=dims.inputs(given, dims.sizes, context.case.seed + 1))
    derived = examine_derived_call(context, case, forward=True)
    return derived is not None and any((f.op, f.gradient) == key for f in derived.new_errors)


def _as_value_dependent(finding: Finding) -> Finding:
    if finding.cause not in having("size"):
        return finding
    return replace(
        finding,
        cause="value-dependent",
        explanation="other random values of the same sizes show it too: it was right on the given ones by chance",
        suggestion="look for a condition on values, and check with values of either sign and of any order",
    )


def _is_from_dtype(context: Context, variant: Variant, new_error: Finding) -> bool:
    """Whether the same sizes are right in the user's own dtype, unless that has 16 bits, so that the dtype causes the error."""
    pairs = zip(variant.inputs, context.case.inputs, strict=True)
    in_own_dtype = tuple(v.to(given.dtype) if isinstance(v, torch.Tensor) else v for v, given in pairs)
    if all(a is b for a, b in zip(in_own_dtype, variant.inputs, strict=True)):
        return False
    if any(is_differentiable(v) and is_narrow(v.dtype) for v in in_own_dtype):
        return False
    derived = examine_derived_call(context, derived_case(context, inputs=in_own_dtype))
    return derived is not None and all((f.op, f.gradient) != (new_error.op, new_error.gradient) for f in derived.new_errors)


def _says_more(finding: Finding, known: Finding) -> bool:
    if finding.severity != known.severity:
        return finding.severity == "error"
    return finding.cause == "unwritten-elements" and known.cause == "size-specialised"


def _variants(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> Iterator[Variant]:
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
        if _has_rows(context, dims, given):
            guessed = _has_equal_sizes_by_chance(context, dims, given)
            yield variant("one more leading dimension", small, 2, beyond_call=not dims.declared, batch_guessed=guessed)
    yield from _without_leading_dimensions(context, dims, given)
    for sizes in SIZE_CYCLES.value if len(names) > 1 else SIZES_OF_ONE_DIMENSION.value:
        chosen = dict(zip(names, cycle(sizes), strict=False))
        if names and chosen != dims.sizes:
            yield variant("other sizes", chosen)
    if batch is not None:
        yield variant("batch 0", {**small, batch: 0}, empty=True)
    yield from _broadcasts(context, dims, given)
    yield from _long_axes(context, dims, given)
    yield from _unequal_sizes(context, dims, given)


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


def _unequal_sizes(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> Iterator[Variant]:
    """Unequal sizes where the call has equal ones by chance: as many queries as keys, or a square matrix."""
    seed, found = context.case.seed, 0
    for split in islice(dims.with_independent_sizes(given), TRIED_SPLITS.value):
        one = next(name for name in split.sizes if name not in dims.sizes)
        other = one.removesuffix("'")
        accepted: list[Variant] = []
        for small, large in ((one, other), (other, one)):
            chosen = {name: min(size, 4) for name, size in split.sizes.items()} | {small: 3, large: 6}
            draw = partial(split.inputs, given, chosen)
            inputs = draw(seed)
            recording = context.record(derived_case(context, inputs=inputs))
            if not isinstance(recording, Exception) and all(bool(torch.isfinite(o).all()) for o in recording.outputs):
                accepted.append(Variant("other sizes", inputs, draw, beyond_call=True))
        yield from accepted
        found += len(accepted)
        if found >= ACCEPTED_SPLITS.value:
            return


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


def _finding(context: Context, derived: DerivedCall, variant: Variant, new_error: Finding) -> Finding:
    moved = [i for i, v in enumerate(derived.inputs) if isinstance(v, torch.Tensor) and v.shape != context.case.inputs[i].shape]
    here, there = shapes_text(context, derived.inputs, moved), shapes_text(context, context.case.inputs, moved)
    condition = f"{variant.change}, {here}" if variant.change != "other sizes" else here
    raised = new_error.cause in having("no_result")
    tail = None if raised else unwritten_tail_text(derived.returned_and_true(new_error))
    cause = "size-specialised"
    if tail is not None and not variant.broadcast:
        cause = "unwritten-elements"
    elif new_error.cause in having("keeps_name"):
        cause = new_error.cause
    is_visible = new_error.cause in having("shape") or variant.broadcast or variant.batch_guessed
    return replace(
        new_error,
        cause=cause,
        severity=_severity(variant, raised, is_visible, bool(context.subject.specs)),
        message=f"{new_error.message}, at {condition}",
        explanation=f"right at {there}, wrong at {here}: {tail or new_error.explanation}",
        suggestion=_suggestion(cause, new_error),
        probe="sizes",
        case=condition,
    )


def _severity(variant: Variant, raised: bool, is_visible: bool, declared: bool) -> Literal["error", "warning", "note"]:
    """Wrong numbers are an error; an exception, or another visible failure, on inputs beyond the call is a note."""
    if raised:
        if variant.only_batch or (declared and not variant.beyond_call and not variant.empty):
            return "error"
        return "warning" if declared and not variant.beyond_call else "note"
    return "note" if variant.beyond_call and is_visible else "error"


def _suggestion(cause: str, new_error: Finding) -> str:
    if cause == "unwritten-elements":
        return "write the last, partial block too: round the number of blocks up and mask the rest"
    if cause == "size-specialised" and new_error.cause in having("fix_by_call"):
        return "take sizes and axes from the inputs; count axes from the last one"
    return new_error.suggestion
