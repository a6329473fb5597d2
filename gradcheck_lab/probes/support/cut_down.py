"""Large inputs cut down to a few rows, so that derived calls stay fast."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.calls.dimensions import LARGEST_DERIVED, letters_of
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.derived_calls import derived_case, is_valid


def cut_down(context: Context, given: tuple[Any, ...], largest: int, rows: int | None = None) -> tuple[Any, ...]:
    """The inputs with no dimension over `largest`, and with `rows` rows.

    Where the forward does not take that, they are returned as they are, or, if they are large, an empty tuple.
    """
    letters = letters_of(given, context.subject.specs)
    wanted = {name: min(size, largest) for name, size in letters.sizes.items()}
    if rows is not None and letters.batch is not None:
        wanted[letters.batch] = rows
    if wanted == letters.sizes:
        return given
    inputs = letters.inputs(given, wanted, context.case.seed)
    case = derived_case(context, inputs=inputs)
    if is_valid(context.subject, case) and not isinstance(context.record(case), Exception):
        return inputs
    return given if sum(v.numel() for v in given if isinstance(v, torch.Tensor)) <= LARGEST_DERIVED else ()
