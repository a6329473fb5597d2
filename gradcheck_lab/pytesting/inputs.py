"""The op and the inputs of a check in a test, in the dtype and on the device of the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.pytesting.marks import Placement
from gradcheck_lab.specs import Spec


def placed_op(op: Any, placement: Placement) -> Any:
    """A module in the test's dtype and on its device; any other op unchanged."""
    from gradcheck_lab.calls.placement import placed

    return op if isinstance(op, tuple) else placed(op, placement.device, placement.dtype)


def placed_inputs(op: Any, inputs: Sequence[Any], placement: Placement, seed: int) -> tuple[Any, ...]:
    """The tensors that the test passed, or tensors drawn by `seed` from the specs that it passed or the op declares.

    Raises `InvalidArgument` for specs mixed with tensors.
    """
    from gradcheck_lab.calls.drawing import ordinary_call
    from gradcheck_lab.calls.placement import placed
    from gradcheck_lab.discovery.targets import DTYPES

    specs = tuple(inputs) or declared_specs(op)
    are_specs = [isinstance(value, Spec) for value in specs]
    if any(are_specs) and not all(are_specs):
        raise InvalidArgument("specs and tensors are mixed; pass a spec for every input, or a tensor for every one")
    dtype = DTYPES[placement.dtype or "float64"]
    values = ordinary_call(op, specs, seed, dtype=dtype).inputs if any(are_specs) else tuple(inputs)
    return tuple(placed(value, placement.device, placement.dtype) for value in values)


def declared_specs(op: Any) -> tuple[Spec, ...]:
    """The specs of an op: its own, or those of its module or annotations; empty where there are none."""
    from gradcheck_lab.discovery.description import specs_of

    return specs_of(op, str(getattr(op, "__module__", "")), name_of(op))


def name_of(op: Any) -> str:
    """The name of an op, else of its function or class."""
    own = getattr(op, "name", None)  # that of an autograd.Function is a method
    return own if isinstance(own, str) else str(getattr(op, "__name__", type(op).__name__))
