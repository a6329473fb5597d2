"""Values beside the numbers that forward and backward compare with, where one may take another branch than the other."""

from __future__ import annotations

import math

from gradcheck_lab.calls.stress import Stress, beside
from gradcheck_lab.model.amounts import BOUNDS_IN_CODE
from gradcheck_lab.model.limits import BOUNDS_TRIED
from gradcheck_lab.probes.support.code_of import code_of
from gradcheck_lab.probes.support.context import Context

_COUNTS = frozenset(["", *"ndim dim dims size numel len shape rank count batch rows columns length n m k i j".split()])


def beside_bounds(context: Context) -> Stress | None:
    """The stress of values a little smaller and larger than the bounds in the code; None where it names none."""
    least, most = BOUNDS_IN_CODE.value
    # whole numbers are compared with sizes and counts as well
    numbers = [n for name, several in code_of(context).beside.items() for n in several
               if isinstance(n, float) or not (name in _COUNTS or name in context.case.options)]  # fmt: skip
    found = [float(n) for n in numbers if not isinstance(n, bool)]
    bounds = sorted({n for n in found if math.isfinite(n) and least <= abs(n) <= most}, key=abs)
    return beside(bounds[: BOUNDS_TRIED.value]) if bounds else None
