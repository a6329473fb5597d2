"""Whether a number of elements that an option names leaves a rest of an axis, which is what is wrong."""

from __future__ import annotations

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.calls.dimensions import LARGEST_DERIVED, dimensions_of
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.probes.support.changed_options import ChangedOptions, changed_options
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.derived_calls import examine_derived_call


def is_right_without_rest(context: Context, changed: ChangedOptions, new_error: Finding) -> bool:
    """Whether an error with a changed option is gone where all sizes are multiples of it, and some of the call are not."""
    values = list(changed.change.values.values())
    given = changed.context.case.inputs
    sizes = {n for v in given if is_differentiable(v) for n in v.shape}
    if len(values) != 1 or type(values[0]) is not int or values[0] < 2 or all(n % values[0] == 0 for n in sizes):
        return False
    dims = dimensions_of(given, ())
    inputs = dims.inputs(given, {name: size * values[0] for name, size in dims.sizes.items()}, context.case.seed)
    if sum(v.numel() for v in inputs if isinstance(v, torch.Tensor)) > LARGEST_DERIVED:
        return False
    at_multiples = changed_options(context, inputs, changed.change)
    if at_multiples is None:
        return False
    with at_multiples.on_object(changed.change.values):
        derived = examine_derived_call(at_multiples.context, at_multiples.case)
    return derived is not None and all((f.op, f.gradient) != (new_error.op, new_error.gradient) for f in derived.new_errors)
