"""What a check in a test is run on: its op and inputs, given or drawn, in the test's dtype and on its device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.pytesting.marks import Target
from gradcheck_lab.specs import Spec


def placed_op(op: Any, target: Target) -> Any:
    """A module in the target's dtype and on its device; any other op itself."""
    from gradcheck_lab.pytesting.placement import placed

    return op if isinstance(op, tuple) else placed(op, target)


def drawn(op: Any, inputs: Sequence[Any], target: Target, seed: int) -> tuple[Any, ...]:
    """The inputs of a call where the target wants them: those given, or drawn from specs.

    Raises `InvalidArgument` for specs mixed with tensors.
    """
    from gradcheck_lab.calls.drawing import ordinary_call
    from gradcheck_lab.discovery.targets import DTYPES
    from gradcheck_lab.pytesting.placement import placed

    specs = tuple(inputs) or described(op)
    are_specs = [isinstance(value, Spec) for value in specs]
    if any(are_specs) and not all(are_specs):
        raise InvalidArgument("specs and tensors are mixed; pass a spec for every input, or a tensor for every one")
    dtype = DTYPES[target.dtype or "float64"]
    values = ordinary_call(op, specs, seed, dtype=dtype).inputs if any(are_specs) else tuple(inputs)
    return tuple(placed(value, target) for value in values)


def described(op: Any) -> tuple[Spec, ...]:
    """The specs that an op carries, or that its module or annotations give it; empty where there are none."""
    from gradcheck_lab.discovery.description import specs_of

    return specs_of(op, str(getattr(op, "__module__", "")), name_of(op))


def name_of(op: Any) -> str:
    """What an op is called: its name, else its function's or class's."""
    own = getattr(op, "name", None)  # a Function's is a method
    return own if isinstance(own, str) else str(getattr(op, "__name__", type(op).__name__))
