"""The row of a number that decides: its value, why it is that, and the planted pair that fixes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number that decides a verdict, a cause, an explanation or an excuse.

    `mistake` and `twin` name planted ones of the tests' catalogue: the mistake has to be caught, or get its cause, and the twin
    has to pass, or not get that cause. One of the two changes when the number moves too far; None where no planted one does.
    """

    value: float
    why: str
    mistake: str | None = None
    twin: str | None = None
