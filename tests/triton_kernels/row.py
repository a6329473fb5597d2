"""One kernel of the table: how its Function is built, with a mistake or without, and what each mistake may be called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradcheck_lab as gl


@dataclass(frozen=True, slots=True)
class Kernel:
    """`function(mistake)` builds the Function, sound for ""; `mistakes` has for each the causes that fit.

    `reference` is the same function in torch, `arguments` are further ones of `gl.check`.
    """

    name: str
    function: Callable[[str], Any]
    inputs: tuple[Any, ...]
    reference: Callable[..., Any]
    mistakes: Mapping[str, frozenset[str]]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def check(self, mistake: str = "", **arguments: Any) -> gl.Report:
        """Check it, against `reference` unless another is given."""
        given = {"reference": self.reference, **self.arguments, **arguments}
        return gl.check(self.function(mistake), *(v.clone() for v in self.inputs), **given)


def causes(names: str) -> frozenset[str]:
    """The causes in a text."""
    return frozenset(names.split())
