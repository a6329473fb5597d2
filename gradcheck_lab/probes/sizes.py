"""The gradient is right at every size that the forward accepts: not only at the given ones, nor at multiples of a block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.dimensions import Letters, letters_of
from gradcheck_lab.calls.moves import moved, noise
from gradcheck_lab.calls.resemblance import resembling
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
    derived_case,
    examine_derived_call,
    repeated_index_text,
    shapes_text,
    wide_inputs,
)
from gradcheck_lab.probes.support.implied_contract import is_implied, operation_count
from gradcheck_lab.probes.support.unwritten_tail import unwritten_tail_text


@dataclass(frozen=True, slots=True)
class Variant:
    """Other inputs, and what is other about them; `outside` where the user's call gave no sign that they are meant."""

    what: str
    inputs: tuple[Any, ...]
    outside: bool = False
    broadcast: bool = False
    empty: bool = False
    rows: bool = False  # only the number of rows differs from the call's
    guessed: bool = False  # which inputs carry the rows is read off sizes that are equal by chance


def sizes(context: Context) -> Iterator[Finding]:
    """Run the same op at other sizes, ranks and broadcasts; the user's forward is the judge of what is valid."""
    if not context.uses_autograd:
        return
    given = wide_inputs(context, widest=True)
    letters = letters_of(given, context.subject.specs)
    found: dict[tuple[str | None, str | None], Finding] = {}
    # a NumPy forward is traced anew for every shape, which takes a second
    state = context.subject.state
    most = 4 if state is not None and state.numpy else None
    for variant in islice(_variants(context, letters, given), most):
        derived = examine_derived_call(context, derived_case(context, inputs=variant.inputs, label=variant.what))
        if derived is not None and derived.new_errors and not letters.declared and not variant.broadcast:
            outputs = derived.examined.case.grad_outputs or ()
            derived = derived if is_implied(context, derived.case, outputs) else None
        for new_error in () if derived is None else derived.new_errors:
            if derived is None or new_error.cause in having("ties"):
                continue
            if repeated_index_text(derived, new_error) or _tied(context, derived, new_error):
                continue
            if _of_dtype(context, variant, new_error):
                continue
            finding, key = _finding(context, derived, variant, new_error), (new_error.op, new_error.gradient)
            if _redrawn(context, letters, given, key):
                finding = _by_value(finding)
            known = found.get(key)
            if known is None or _says_more(finding, known):
                found[key] = finding
    yield from found.values()


def _tied(context: Context, derived: DerivedCall, new_error: Finding) -> bool:
    """Whether a problem goes when repeated values are told apart: then ties show it, not sizes."""
    index = derived.input_index(new_error)
    value = derived.inputs[index] if index is not None else None
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.unique().numel() == value.numel():
        return False
    generator = torch.Generator().manual_seed(context.case.seed)
    apart = tuple(moved(v, TIES_APART.value, noise(v, generator)) if i == index else v for i, v in enumerate(derived.inputs))
    again = examine_derived_call(context, derived_case(context, inputs=apart))
    return again is not None and all((f.op, f.gradient) != (new_error.op, new_error.gradient) for f in again.new_errors)


def _redrawn(context: Context, letters: Letters, given: tuple[Any, ...], key: tuple[str | None, str | None]) -> bool:
    """Whether other values of the sizes given show the problem too, so that sizes are not what it is about."""
    derived = examine_derived_call(
        context, derived_case(context, inputs=letters.inputs(given, letters.sizes, context.case.seed + 1))
    )
    return derived is not None and any((f.op, f.gradient) == key for f in derived.new_errors)


def _by_value(finding: Finding) -> Finding:
    if finding.cause not in having("size"):
        return finding
    return replace(
        finding,
        cause="value-dependent",
        explanation="other random values of the same sizes show it too: it was right on the given ones by chance",
        suggestion="look for a condition on values, and check with values of either sign and of any order",
    )


def _of_dtype(context: Context, variant: Variant, new_error: Finding) -> bool:
    """Whether the same sizes are right in the user's own dtype, where it is not a narrow one."""
    pairs = zip(variant.inputs, context.case.inputs, strict=True)
    own = tuple(v.to(given.dtype) if isinstance(v, torch.Tensor) else v for v, given in pairs)
    if all(a is b for a, b in zip(own, variant.inputs, strict=True)):
        return False
    if any(is_differentiable(v) and is_narrow(v.dtype) for v in own):
        return False
    derived = examine_derived_call(context, derived_case(context, inputs=own))
    return derived is not None and all((f.op, f.gradient) != (new_error.op, new_error.gradient) for f in derived.new_errors)


def _says_more(finding: Finding, known: Finding) -> bool:
    if finding.severity != known.severity:
        return finding.severity == "error"
    return finding.cause == "unwritten-elements" and known.cause == "size-specialised"


def _variants(context: Context, letters: Letters, given: tuple[Any, ...]) -> Iterator[Variant]:
    seed, names = context.case.seed, list(letters.sizes)
    batch = letters.batch
    if batch is not None:
        small = {name: min(size, 7) for name, size in letters.sizes.items()}
        same = {name: min(size, ROW_ELEMENTS.value) for name, size in letters.sizes.items() if name != batch}
        only = all(size <= ROW_ELEMENTS.value for name, size in letters.sizes.items() if name != batch)
        leads = all(batch not in axes[1:] for axes in letters.axes)
        yield Variant("batch 1", letters.inputs(given, {**same, batch: 1}, seed), rows=only and leads)
        if _carries_rows(context, letters, given):
            stacked = letters.inputs(given, small, seed, lead=2)
            guessed = _guessed(context, letters, given)
            yield Variant("one more leading dimension", stacked, not letters.declared, guessed=guessed)
    for sizes in SIZE_CYCLES.value if len(names) > 1 else SIZES_OF_ONE_DIMENSION.value:
        chosen = dict(zip(names, cycle(sizes), strict=False))
        if names and chosen != letters.sizes:
            yield Variant("other sizes", letters.inputs(given, chosen, seed))
    if batch is not None:
        yield Variant("batch 0", letters.inputs(given, {**small, batch: 0}, seed), empty=True)
    yield from _broadcasts(context, letters, given)
    yield from _long(context, letters, given)
    yield from _untied(context, letters, given)


def _carries_rows(context: Context, letters: Letters, given: tuple[Any, ...]) -> bool:
    """Whether the first input with a gradient is among those that a leading dimension is added to: weights alone have none."""
    first = next((i for i, v in enumerate(given) if is_differentiable(v) and v.ndim), None)
    return first in letters.leading and not any(i in context.subject.parameters for i in letters.leading)


def _guessed(context: Context, letters: Letters, given: tuple[Any, ...]) -> bool:
    """Whether inputs share the size of their first dimensions by chance, as square matrices do, and not because it counts rows.

    The forward tells: it takes another number of rows in all of them, the other dimensions as they are.
    """
    batch = letters.batch
    if batch is None or len(letters.leading) < 2 or all(batch not in axes[1:] for axes in letters.axes):
        return False
    apart = letters.split(batch, frozenset((i, 0) for i in letters.leading))
    sizes = {**apart.sizes, f"{batch}'": apart.sizes[batch] + 1}
    return isinstance(context.record(derived_case(context, inputs=apart.inputs(given, sizes, context.case.seed))), Exception)


def _long(context: Context, letters: Letters, given: tuple[Any, ...]) -> Iterator[Variant]:
    """One dimension longer than any block that a kernel works in, the others short; none that the forward loops over."""
    seed = context.case.seed
    for letter in list(letters.sizes)[-2:]:
        short = {name: min(size, 3) for name, size in letters.sizes.items()}
        (few, small), (many, large) = (
            operation_count(context, letters.inputs(given, {**short, letter: n}, seed), context.case) for n in (3, 9)
        )
        if few != many:
            continue
        # a matrix of the dimension with itself, as of scores or of a solve, is kept affordable
        chosen = {**short, letter: (LONG_AXIS if large <= 4 * small else LONG_AXIS_SQUARED).value}
        shapes = [[chosen[name] if name else n for name, n in zip(axes, v.shape, strict=True)]
                  for axes, v in zip(letters.axes, given, strict=True) if isinstance(v, torch.Tensor)]  # fmt: skip
        total = sum(math.prod(shape) for shape in shapes)
        if all(axes.count(letter) < 2 for axes in letters.axes) and total <= LONG_CALL_ELEMENTS.value:
            yield Variant("other sizes", letters.inputs(given, chosen, seed))


def _untied(context: Context, letters: Letters, given: tuple[Any, ...]) -> Iterator[Variant]:
    """Sizes that are equal in the call and need not be: queries against keys, heads in groups, a matrix that is not square."""
    seed, found = context.case.seed, 0
    for split in islice(letters.untied(given), TRIED_SPLITS.value):
        one = next(name for name in split.sizes if name not in letters.sizes)
        other = one.removesuffix("'")
        accepted: list[Variant] = []
        for small, large in ((one, other), (other, one)):
            chosen = {name: min(size, 4) for name, size in split.sizes.items()} | {small: 3, large: 6}
            inputs = split.inputs(given, chosen, seed)
            recording = context.record(derived_case(context, inputs=inputs))
            if not isinstance(recording, Exception) and all(bool(torch.isfinite(o).all()) for o in recording.outputs):
                accepted.append(Variant("other sizes", inputs, outside=True))
        yield from accepted
        found += len(accepted)
        if found >= ACCEPTED_SPLITS.value:
            return


def _broadcasts(context: Context, letters: Letters, given: tuple[Any, ...]) -> Iterator[Variant]:
    """A column against a row, for two operands of one shape: as declared with `#`, else only for a note."""
    specs = context.subject.specs
    operands = [i for i, v in enumerate(given) if is_differentiable(v) and i not in context.subject.constants]
    if len(operands) != 2 or len(given) != 2 or given[0].shape != given[1].shape or not given[0].ndim:
        return
    declared = bool(specs) and letters.declared
    if declared and not all(dim.broadcast and dim.variadic for spec in specs for dim in spec.dims):
        return
    generator = torch.Generator().manual_seed(context.case.seed)
    column, row = (resembling(v, shape, generator) for v, shape in zip(given, ((3, 1), (5,)), strict=True))
    yield Variant("a column against a row", (column, row), not declared, broadcast=True)


def _finding(context: Context, derived: DerivedCall, variant: Variant, new_error: Finding) -> Finding:
    moved = [i for i, v in enumerate(derived.inputs) if isinstance(v, torch.Tensor) and v.shape != context.case.inputs[i].shape]
    here, there = shapes_text(context, derived.inputs, moved), shapes_text(context, context.case.inputs, moved)
    condition = f"{variant.what}, {here}" if variant.what != "other sizes" else here
    raised = new_error.cause in having("no_result")
    tail = None if raised else unwritten_tail_text(derived.returned_and_true(new_error))
    cause = "size-specialised"
    if tail is not None and not variant.broadcast:
        cause = "unwritten-elements"
    elif new_error.cause in having("keeps_name"):
        cause = new_error.cause
    loud = new_error.cause in having("shape") or variant.broadcast or variant.guessed
    return replace(
        new_error,
        cause=cause,
        severity=_severity(variant, raised, loud, bool(context.subject.specs)),
        message=f"{new_error.message}, at {condition}",
        explanation=f"right at {there}, wrong at {here}: {tail or new_error.explanation}",
        suggestion=_suggestion(cause, new_error),
        probe="sizes",
        case=condition,
    )


def _severity(variant: Variant, raised: bool, loud: bool, declared: bool) -> Literal["error", "warning", "note"]:
    """A refusal, or a visible failure, on a call that nobody said is meant is a note; wrong numbers are an error."""
    if raised:
        if variant.rows or (declared and not variant.outside and not variant.empty):
            return "error"
        return "warning" if declared and not variant.outside else "note"
    return "note" if variant.outside and loud else "error"


def _suggestion(cause: str, new_error: Finding) -> str:
    if cause == "unwritten-elements":
        return "write the last, partial block too: round the number of blocks up and mask the rest"
    if cause == "size-specialised" and new_error.cause in having("fix_by_call"):
        return "take sizes and axes from the inputs; count axes from the last one"
    return new_error.suggestion
