"""Many gradients held against the forward at once: along a direction that moves several inputs, their derivatives add up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from gradcheck_lab.model.limits import INPUTS_TOGETHER
from gradcheck_lab.oracles.numeric.oracle import NumericOracle, Weighed


def right_together(oracle: NumericOracle, manual: Mapping[int, torch.Tensor]) -> frozenset[int]:
    """The inputs whose gradients no direction contradicts that moves a group of inputs; their `sensitivity` is the oracle's.

    A direction moves every element of the group by a random amount, so that wrong gradients do not cancel. Inputs of a group
    that a direction contradicts, that meets a kink, or that is too coarse for the smallest gradients of it, are left to be
    looked at alone: k of n inputs cost O(k log n) evaluations, and the others a few for each group.
    """
    found: dict[int, float] = {}
    indices = list(manual)
    size = INPUTS_TOGETHER.value
    waiting = [indices[k : k + size] for k in range(0, len(indices), size)]
    while waiting:
        group = waiting.pop()
        seen = _sensitivities(oracle, {i: manual[i] for i in group})
        if seen is not None:
            found |= seen
        elif len(group) > 2:
            middle = len(group) // 2
            waiting += [group[:middle], group[middle:]]
    oracle.sensitivity.update(found)
    return frozenset(found)


def _sensitivities(oracle: NumericOracle, manual: Mapping[int, torch.Tensor], count: int = 3) -> dict[int, float] | None:
    """What each gradient of a group may be off by, in its own size, after `count` directions; None where it is not settled."""
    worst, hidden = dict.fromkeys(manual, 0.0), set(manual)
    for salt in range(count):
        along = oracle.problem.random_directions(1 + salt + 1000 * min(manual), list(manual))
        weighed = {i: oracle.weighed(gradient, along[i]) for i, gradient in manual.items()}
        if any(not each.size for each in weighed.values()):
            return None
        rounding = _joint(list(weighed.values()))
        measured, value = sum(each.measured for each in weighed.values()), oracle.value(along)
        if math.isnan(value):
            numeric = oracle.derivative(along)
            value = math.nan if numeric.flag else numeric.value
        if not abs(measured - value) <= rounding:
            return None
        # an allowance that is many times an input's own would hide what is wrong with it
        hidden &= {i for i, each in weighed.items() if rounding > INPUTS_TOGETHER.value * each.rounding}
        for i, each in weighed.items():
            worst[i] = max(worst[i], rounding / (each.step * each.size))
    return None if hidden else worst


def _joint(weighed: Sequence[Weighed]) -> float:
    """The rounding of a sum of derivatives, each of which errs by itself."""
    return math.hypot(*(each.rounding for each in weighed))
