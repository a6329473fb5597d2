"""The specs of an object's inputs: the user's, else the object's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradcheck_lab.discovery.description import specs_of
from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.op import Op
from gradcheck_lab.specs import Spec, parse


def signatures_of(op: Any, name: str, given: Sequence[Any]) -> tuple[tuple[Spec, ...], ...]:
    """The signatures that a call of `op` may have: the specs in `given`, else its own, else those of its annotations.

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
