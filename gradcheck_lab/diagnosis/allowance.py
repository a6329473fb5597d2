"""What a user allows: one cause of a gradient, and what it was seen to excuse on the call as given."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from gradcheck_lab.diagnosis.evidence import Evidence, Explanation
from gradcheck_lab.model.causes import having

Owner = tuple[str | None, str]  # the op within a program, None elsewhere, and the name of the gradient


def sizes_of(evidence: Evidence) -> tuple[object, ...]:
    """What calls have in common on which a number of a rule is the same: shapes and options."""
    shapes = {name: tuple(tensor.shape) for name, tensor in evidence.tensors.items()}
    return tuple(evidence.expected.shape), tuple(sorted(shapes.items())), tuple(sorted(map(repr, evidence.options.items())))


@dataclass(frozen=True, slots=True)
class Excuse:
    """The allowed mistakes that a gradient was seen to have, and the sizes of that call.

    They are in the order in which they were taken away; without them the gradient is the true one.
    """

    told: tuple[Explanation, ...]
    sizes: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Allowance:
    """The causes that the user allows; on derived calls, `excused` has what they excused on the call as given.

    What the call as given did not show is excused on no derived call.
    """

    causes: frozenset[str] = frozenset()
    excused: Mapping[Owner, Excuse] | None = None

    @property
    def derived(self) -> bool:
        """Whether this is of a derived call."""
        return self.excused is not None

    def known(self, op: str | None, name: str) -> Excuse:
        """What the gradient was excused for on the call as given; nothing there itself."""
        return (self.excused or {}).get((op, name), NO_EXCUSE)

    def permits(self, cause: str, op: str | None, name: str) -> bool:
        """Whether a gradient may be wrong for this cause; one of another shape has another one on calls of other sizes."""
        if not self.derived:
            return cause in self.causes
        shapes = having("shape") | {TRANSPOSED}
        return any(each.cause == cause or {each.cause, cause} <= shapes for each in self.known(op, name).told)

    def of(self, causes: Collection[str]) -> Allowance:
        """The same for these causes alone."""
        return replace(self, causes=self.causes & frozenset(causes))


TRANSPOSED = "transposed"
NO_EXCUSE = Excuse(())
NOTHING_ALLOWED = Allowance()
