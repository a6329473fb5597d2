"""What the inputs and options of a call are: specs as users give them, and the options whose values are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradcheck_lab.calls.drawing import draw_inputs
from gradcheck_lab.rules.naming import option_names
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import Spec

# options that mean the same in every op that has them, and the values to try
OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "reduction": ("mean", "sum", "none", "batchmean"),
    "keepdim": (False, True),
    "approximate": ("none", "tanh"),
}
_SURELY_UNKNOWN = "no such value"


def known_options(op: Op, signature: tuple[Spec, ...]) -> dict[str, list[Any]]:
    """The options that `op` has choices of, or else those that `OPTIONS` knows, with what its validators let through."""
    if op.choices:
        return {name: list(values) for name, values in op.choices.items()}
    inputs = draw_inputs(signature, 0)
    names = [name for name in option_names(op.forward, len(inputs)) or () if name in OPTIONS]
    found = {name: [value for value in OPTIONS[name] if op.takes(inputs, {name: value})] for name in names}
    if "batchmean" in found.get("reduction", ()) and op.takes(inputs, {"reduction": _SURELY_UNKNOWN}):
        found["reduction"].remove("batchmean")  # an op that checks nothing need not mean it
    return {name: values for name, values in found.items() if values}
