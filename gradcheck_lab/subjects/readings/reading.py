"""A reading of the user's code, and the refusal that shows the nearest ones with a wrapper to paste."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradcheck_lab.errors import InvalidArgument

SHOWN = 3
PASTE = "paste the first, or write another of them like it:"


@dataclass(frozen=True, slots=True)
class Reading:
    """`text` says how forward and backward would be called, in the user's names; `wrapper` is code that says so."""

    text: str
    wrapper: str


def refusal(problem: str, readings: Sequence[Reading]) -> InvalidArgument:
    """The error that shows the first three readings and the wrapper of the first.

    >>> meant = Reading("bwd(x, dout)", "gl.check((f, lambda x, dout: bwd(x, dout)), x)")
    >>> print(refusal("cannot tell how bwd is called", [meant]))
    cannot tell how bwd is called; the nearest readings are
      1. bwd(x, dout)
    paste the first, or write another of them like it:
    gl.check((f, lambda x, dout: bwd(x, dout)), x)
    """
    if not readings:
        return InvalidArgument(problem)
    numbered = [f"  {k}. {reading.text}" for k, reading in enumerate(readings[:SHOWN], start=1)]
    return InvalidArgument("\n".join([f"{problem}; the nearest readings are", *numbered, PASTE, readings[0].wrapper]))
