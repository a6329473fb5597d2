"""What the inputs and options of a call are: specs as users give them, and the options whose values are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradcheck_lab.case import draw_inputs
from gradcheck_lab.described import specs_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.naming import option_names
from gradcheck_lab.op import Op
from gradcheck_lab.specs import Spec, parse

# options that mean the same in every op that has them, and the values to try
OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "reduction": ("mean", "sum", "none", "batchmean"),
    "keepdim": (False, True),
    "approximate": ("none", "tanh"),
}
_SURELY_UNKNOWN = "no such value"


def signatures_of(op: Any, name: str, given: Sequence[Any]) -> tuple[tuple[Spec, ...], ...]:
    """The specs that a call of `op` may fit: those given, else those that it declares or that its annotations say.

    Raises `InvalidArgument` where there are none.
    """
    written = read_signature(given)
    if written:
        return (written,)
    if isinstance(op, Op) and op.signatures:
        return tuple(op.signatures)
    found = specs_of(op, str(getattr(op, "__module__", "")), name)
    if not found:
        raise InvalidArgument(f"{name} has no specs to draw from; pass one per input: gl.fuzz({name}, real('n d'), ...)")
    return (tuple(found),)


def read_signature(specs: Sequence[Any]) -> tuple[Spec, ...]:
    """Specs, or their texts, as specs. Raises `InvalidArgument` for anything else."""
    for spec in specs:
        if not isinstance(spec, (Spec, str)):
            raise InvalidArgument(
                f"a {type(spec).__name__} is no spec; describe each input, such as real('n d'), and let its values be drawn"
            )
    return tuple(parse(spec) if isinstance(spec, str) else spec for spec in specs)


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
