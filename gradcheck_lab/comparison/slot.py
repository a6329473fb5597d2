"""Where a gradient belongs, in words and in shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from gradcheck_lab.diagnosis.allowance import NOTHING_ALLOWED, Allowance
from gradcheck_lab.subjects.code.kept import Kept


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a gradient belongs: what it is the gradient of. `label` is how messages call it, as in "input 0 'x'".

    `reference` is what messages call the other side, `truth_error` how far its values may be off.
    `margin` is how many times its budget an error has to be to count: on calls that nobody chose only gross errors do.
    `others` are the inputs of the same call that do have a gradient, `allowed` the mistakes that the user allows in this one.
    `kept()` is what the backward gets from the forward, by the names of the user's code. `term` is the size of a product of
    two numbers of the call, 1 for an ordinary one: what cancels may be as large.
    """

    name: str
    label: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    op: str | None = None
    reference: str = "autograd"
    truth_error: float = 0.0
    margin: float = 1.0
    others: tuple[str, ...] = ()
    allowed: Allowance = NOTHING_ALLOWED
    kept: Callable[[], tuple[Kept, ...]] = tuple
    term: float = 1.0

    def permits(self, cause: str) -> bool:
        """Whether this gradient may be wrong for this cause."""
        return self.allowed.permits(cause, self.op, self.name)
