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
    numbers = [each for several in code_of(context).beside.values() for each in several if not isinstance(each, bool)]
    bounds = sorted({float(each) for each in numbers if math.isfinite(each) and least <= abs(each) <= most}, key=abs)
    return beside(bounds[: BOUNDS_TRIED.value]) if bounds else None
