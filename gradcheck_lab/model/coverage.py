"""What of a call was compared, and what was not, by kind and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

COMPARED = ""  # instead of a reason for leaving something out


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many things of one kind were compared; `skipped` has how many were not, by reason.

    Kinds are inputs, parameters, intermediates of a program, outputs (those that carry an upstream gradient), derived calls,
    and drawn calls of fuzzing.
    """

    kind: str
    compared: int
    skipped: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, reasons: Iterable[str]) -> Self:
        """From a reason for each thing, `COMPARED` where it was compared.

        >>> Coverage.of("input", ["", "no elements", ""])
        Coverage(kind='input', compared=2, skipped={'no elements': 1})
        """
        counts = Counter(reasons)
        return cls(kind, counts.pop(COMPARED, 0), dict(counts))

    @property
    def total(self) -> int:
        """How many things of this kind there are."""
        return self.compared + sum(self.skipped.values())


def coverage_text(coverage: Iterable[Coverage]) -> str:
    """What was compared and what was not, as the end of a sentence; empty where nothing was counted.

    >>> coverage_text([Coverage("input", 1, {"no elements": 2}), Coverage("output", 1)])
    ': 1 of 3 inputs (2 no elements), 1 output'
    """
    parts = [_counted(each) for each in coverage]
    return f": {', '.join(parts)}" if parts else ""


def _counted(each: Coverage) -> str:
    kind = f"{each.kind}{'s' * (each.total != 1)}"
    if not each.skipped:
        return f"{each.compared} {kind}"
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(each.skipped.items()))
    return f"{each.compared} of {each.total} {kind} ({reasons})"
