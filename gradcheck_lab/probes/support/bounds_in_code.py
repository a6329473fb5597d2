"""Values beside the numbers that forward and backward compare with, where one may take another branch than the other."""

from __future__ import annotations

import math

from gradcheck_lab.calls.stress import Stress, beside
from gradcheck_lab.model.amounts import BOUNDS_IN_CODE
from gradcheck_lab.model.limits import BOUNDS_TRIED
from gradcheck_lab.probes.support.code_of import code_of
from gradcheck_lab.probes.support.context import Context


def beside_bounds(context: Context) -> Stress | None:
    """The stress of values a little smaller and larger than the bounds in the code; None where it names none."""
    least, most = BOUNDS_IN_CODE.value
    facts, inputs = code_of(context), context.subject.names
    # whole numbers are compared with sizes and ranks as well, and say something of an input alone
    values = {name for each in inputs for name in facts.copies_of(each)}
    numbers = [n for name, several in facts.beside.items() for n in several if isinstance(n, float) or name in values]
    found = [float(n) for n in numbers if not isinstance(n, bool)]
    bounds = sorted({n for n in found if math.isfinite(n) and least <= abs(n) <= most}, key=abs)
    return beside(bounds[: BOUNDS_TRIED.value]) if bounds else None
