"""The gradient is right at every size that the forward accepts, not only at the user's or at multiples of a block."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any, Literal

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.dimensions import NamedDimensions, dimensions_of
from gradcheck_lab.calls.moves import moved, random_normal
from gradcheck_lab.model.amounts import SMALLER_VALUES, TIES_APART
from gradcheck_lab.model.causes import having
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import SIZES_OF_AN_ERROR
from gradcheck_lab.model.precision import is_narrow
from gradcheck_lab.probes.poison import poisoned
from gradcheck_lab.probes.support.code_of import checks_its_sizes
from gradcheck_lab.probes.support.context import Context, Run
from gradcheck_lab.probes.support.derived_calls import (
    DerivedCall,
    Forwards,
    derived_case,
    examine_derived_call,
    holds_integers,
    repeated_index_text,
    shapes_text,
    wide_inputs,
)
from gradcheck_lab.probes.support.further_sizes import further_variants, leading_ones
from gradcheck_lab.probes.support.implied_contract import is_implied
from gradcheck_lab.probes.support.single_sizes import single_sizes
from gradcheck_lab.probes.support.size_variants import Variant, variants
from gradcheck_lab.probes.support.unwritten_tail import unwritten_tail_text


def sizes(context: Context) -> Iterator[Finding]:
    """Run the same op at other sizes, ranks and broadcasts, where the user's forward accepts them."""
    if not context.derives:
        return
    given = wide_inputs(context, widest=True)
    dims = dimensions_of(given, context.subject.specs)
    found: dict[tuple[str | None, str | None], Finding] = {}
    wrong = Counter[tuple[str | None, str | None]]()
    compared = {(c.result.op, c.result.name) for c in context.examined.comparisons if c.result.verdict == "pass"}
    # a NumPy forward is traced again for every shape, which takes about a second
    state = context.subject.state
    most, most_further = (4, 1) if state is not None and state.numpy else (None, None)
    ordinary, further = islice(variants(context, dims, given), most), further_variants(context, dims, given, most_further)
    passed: set[str] = set()
    alone = single_sizes(context, dims, given, most_further, passed)
    kept = chain(ordinary, further) if checks_its_sizes(context) else ordinary
    # code that autograd cannot follow may be a kernel that trusts its sizes to fit, and writes beyond them
    for variant in chain(kept, leading_ones(context, given), alone) if context.uses_autograd else kept:
        known_well = {key for key, count in wrong.items() if count >= SIZES_OF_AN_ERROR.value}
        if compared and compared <= known_well:
            break  # further sizes say nothing more of any gradient
        case = derived_case(context, inputs=variant.inputs, label=variant.change)
        # a reference may be written for the ranks and equal sizes of the call
        forward: Forwards = "overflows" if variant.beyond_call else "differs"
        derived = examine_derived_call(context, case, forward=forward, draw=variant.draw)
        passed |= {variant.change} if derived is not None and not derived.new_errors else set()
        if derived is not None and derived.new_errors and not dims.declared and not (variant.broadcast or variant.same_outputs):
            derived = _as_implied(context, variant, derived)
        for new_error in () if derived is None else derived.new_errors:
            if derived is None or new_error.cause in having("ties") or (new_error.op, new_error.gradient) in known_well:
                continue
            is_refused = variant.same_outputs or _is_visible(context, new_error)
            is_number = derived.returned_and_true(new_error) is not None or derived.is_missing(new_error)
            if variant.only_numbers and not is_number and is_refused:
                continue
            if repeated_index_text(derived, new_error) or _is_from_ties(context, derived, new_error):
                continue
            if not derived.is_known(new_error) and any(map(holds_integers, derived.inputs)):
                continue  # too many numbers to see whether an index that repeats is all that is wrong
            if _is_from_dtype(context, variant, new_error) or _is_from_large_values(context, derived, new_error):
                continue
            finding, key = _finding(context, derived, variant, new_error), (new_error.op, new_error.gradient)
            if _is_from_values(context, dims, given, key):
                finding = _as_value_dependent(finding)
            known = found.get(key)
            wrong[key] += finding.severity == "error"
            if known is None or _says_more(finding, known):
                found[key] = finding
    yield from found.values()


def _as_implied(context: Context, variant: Variant, derived: DerivedCall) -> DerivedCall | None:
    """The call where the user's implies it; only with what no user sees where parts of an axis leave a rest."""
    outputs = derived.examined.case.grad_outputs or ()
    if is_implied(context, derived.case, outputs, variant.by_chance):
        return derived
    numbers = tuple(e for e in derived.new_errors if derived.returned_and_true(e) is not None or not _is_visible(context, e))
    if not numbers or not is_implied(context, derived.case, outputs, variant.by_chance, rounded=True):
        return None
    return replace(derived, new_errors=numbers)


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
    derived = context.once("other values", lambda: _at_other_values(context, dims, given))
    return derived is not None and any((f.op, f.gradient) == key for f in derived.new_errors)


def _at_other_values(context: Context, dims: NamedDimensions, given: tuple[Any, ...]) -> DerivedCall | None:
    context.runner.evaluations.looking = 0  # what decides a cause is not too dear, whatever the sizes took
    case = derived_case(context, inputs=dims.inputs(given, dims.sizes, context.case.seed + 1))
    return examine_derived_call(context, case, forward="differs")


def _is_from_large_values(context: Context, derived: DerivedCall, new_error: Finding) -> bool:
    """Whether an error of numbers is gone at the same sizes with smaller values: a size is wrong at any values.

    Sums over more elements of the same values are larger, and an iteration that converges in the user's call may not there.
    """
    if new_error.cause in having("no_result") | having("shape"):
        return False
    factor = SMALLER_VALUES.value
    smaller = tuple(v.detach() * factor if is_differentiable(v) else v for v in derived.inputs)
    again = examine_derived_call(context, derived_case(context, inputs=smaller))
    passed = again is not None and all((f.op, f.gradient) != (new_error.op, new_error.gradient) for f in again.new_errors)
    return passed


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


def _finding(context: Context, derived: DerivedCall, variant: Variant, new_error: Finding) -> Finding:
    moved = [i for i, v in enumerate(derived.inputs) if isinstance(v, torch.Tensor) and v.shape != context.case.inputs[i].shape]
    here, there = shapes_text(context, derived.inputs, moved), shapes_text(context, context.case.inputs, moved)
    condition = f"{variant.change}, {here}" if variant.change != "other sizes" else here
    raised = new_error.cause in having("no_result")
    tail = None if raised else _unwritten_text(context, derived, new_error)
    cause = "size-specialised"
    if tail is not None and not variant.broadcast:
        cause = "unwritten-elements"
    shaped = new_error.cause in having("shape") and new_error.measured is None  # and no sum of values that lacks a share
    if cause == "size-specialised" and new_error.cause in having("keeps_name") and new_error.measured is None:
        cause = new_error.cause
    if cause == "size-specialised" and new_error.cause in having("seen_by_running"):
        cause = new_error.cause
    # one more dimension may be refused by any code; other sizes of the same dimensions are seen where something raises
    is_seen = shaped and (not variant.by_chance or _is_visible(context, new_error))
    is_visible = is_seen or variant.broadcast or variant.batch_guessed
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


def _is_visible(context: Context, new_error: Finding) -> bool:
    """Whether a user sees what is wrong: an exception, or a shape at which torch's engine raises. NumPy may broadcast it."""
    state = context.subject.state
    return new_error.cause not in having("shape") or state is None or not state.numpy


def _unwritten_text(context: Context, derived: DerivedCall, new_error: Finding) -> str | None:
    """Say from where on a gradient was not written, whatever lies in new memory; zeros that are computed are written."""
    pair, index = derived.returned_and_true(new_error), derived.input_index(new_error)
    if pair is None or index is None:
        return unwritten_tail_text(pair)
    with poisoned(math.nan):
        again = _gradient(context.run(derived.examined.case), index, pair[1])
    said = unwritten_tail_text(pair if again is None else (again, pair[1]))
    if said is None or (again is not None and bool(torch.isnan(again).any())):
        return said
    with poisoned(math.nan, zeros=True):
        filled = _gradient(context.run(derived.examined.case), index, pair[1])
    zero = (pair[0] == 0) & (pair[1] != 0)
    return said if filled is None or bool(torch.isnan(filled[zero]).all()) else None


def _gradient(run: Run, index: int, like: torch.Tensor) -> torch.Tensor | None:
    found = run.gradients[index] if run.error is None and index < len(run.gradients) else None
    return found if isinstance(found, torch.Tensor) and found.shape == like.shape else None


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
