"""Sums over many rows in 16 bits: an accumulator of 16 bits loses more with every row, a sum rounded once does not.

Terms of both signs hide that, because what is left of them is as small as their rounding. So the upstream gradient and the
inputs have one sign, and a dimension is long.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import torch

from gradcheck_lab.calls.case import Case, is_differentiable
from gradcheck_lab.calls.dimensions import NamedDimensions, dimensions_of
from gradcheck_lab.calls.upstream import random_like
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.limits import LONG_SUM, LONG_SUM_ELEMENTS, LONG_SUMS
from gradcheck_lab.model.precision import is_narrow
from gradcheck_lab.model.precision.derived_calls import DTYPE_MARGIN
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.derived_calls import DerivedCall, derived_case, shapes_text
from gradcheck_lab.probes.support.implied_contract import is_implied, operation_count


def long_sums(context: Context) -> Iterator[Finding]:
    """Run a call in 16 bits with a long dimension, for each of its first few dimensions."""
    dtypes = {v.dtype for v in context.case.inputs if is_differentiable(v)}
    if len(dtypes) != 1 or not is_narrow(dtype := dtypes.pop()):
        return
    reported = {context.name(i) for i in context.wrong_inputs}
    dims, seed = dimensions_of(context.case.inputs, context.subject.specs), context.case.seed
    for letter in [letter for letter in dims.sizes if letter not in dims.multiples][: LONG_SUMS.value]:
        for number, case in enumerate(_long_cases(context, dims, letter, seed)):
            errors = _wrong(context, case, dtype)
            again = next(islice(_long_cases(context, dims, letter, seed + 1), number, None), None) if errors else None
            stands = set() if again is None else {error.gradient for error in _wrong(context, again, dtype)}
            for error in errors:
                if error.gradient in stands - reported:
                    reported.add(str(error.gradient))
                    yield _finding(context, case, error)


def _wrong(context: Context, case: Case, dtype: torch.dtype) -> list[Finding]:
    """The errors of numbers that are far beyond the budget of 16 bits."""
    found = context.against_oracle(case, skip=context.skip_on_derived_calls)
    errors = () if found is None else tuple(f for f in found.findings if f.severity == "error")
    if found is None or not errors:
        return []
    derived = DerivedCall(case, found, errors)
    of_numbers = [error for error in errors if derived.returned_and_true(error) is not None]
    return [error for error in of_numbers if derived.budget_used(error, dtype) > DTYPE_MARGIN.value]


def _long_cases(context: Context, dims: NamedDimensions, letter: str, seed: int) -> Iterator[Case]:
    """Cases with a long dimension that the forward takes, inputs and upstream gradients at least zero.

    Where a value within forward or backward has the dimension twice, as a matrix of scores has, only one of the two is long,
    in one input or in all others; where the forward does not take that, both are, and shorter.
    """
    given, long = context.case.inputs, LONG_SUM.value
    made = [dims.inputs(given, {**dims.sizes, letter: n}, seed) for n in (3, 9)]
    small, large = (operation_count(context, inputs, context.case)[1] for inputs in made)
    if large <= 4 * small:
        yield from _accepted(context, dims, {**dims.sizes, letter: long}, seed)
        return
    places = [(i, k) for i, axes in enumerate(dims.axes) for k, name in enumerate(axes) if name == letter]
    parts = [frozenset(place for place in places if (place[0] == i) == own) for i, _ in places for own in (True, False)]
    splits = [dims.split(letter, part) for part in dict.fromkeys(parts) if 0 < len(part) < len(places)]
    taken = [case for each in splits for case in _accepted(context, each, {**each.sizes, f"{letter}'": long}, seed)]
    shorter = min(long, math.isqrt(LONG_SUM_ELEMENTS.value * 81 // large))
    yield from taken or _accepted(context, dims, {**dims.sizes, letter: shorter}, seed)


def _accepted(context: Context, dims: NamedDimensions, sizes: dict[str, int], seed: int) -> Iterator[Case]:
    """The case with these sizes, where the forward takes it and its outputs are of the form of the call's."""
    made = dims.inputs(context.case.inputs, sizes, seed)
    if sum(v.numel() for v in made if isinstance(v, torch.Tensor)) > LONG_SUM_ELEMENTS.value:
        return
    inputs = tuple(v.abs() if is_differentiable(v) else v for v in made)
    case = derived_case(context, inputs=inputs, seed=seed, label=f"{max(sizes.values())} terms of one sign")
    recording = context.record(case)
    if isinstance(recording, Exception):
        return
    generator = torch.Generator().manual_seed(seed)
    upstream = tuple(random_like(o, generator).abs() if is_differentiable(o) else o for o in recording.outputs)
    if is_implied(context, case, upstream):
        yield replace(case, grad_outputs=upstream)


def _finding(context: Context, case: Case, finding: Finding) -> Finding:
    shapes = shapes_text(context, case.inputs)
    return replace(
        finding,
        cause="low-precision",
        message=f"{finding.message}, in sums of {case.label}, {shapes}",
        explanation=f"right at the sizes given, wrong at {shapes}: its error grows with the number of terms, "
        "as of a sum in 16 bits",
        suggestion="add up in float32, and round once",
        probe="dtypes",
        case=case.label,
    )
