"""Kinks on derived calls: whether a gradient that differs there is another subgradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.model.amounts import ALL_TOGETHER
from gradcheck_lab.model.precision import is_wide
from gradcheck_lab.model.precision.budget import NOT_ROUNDING, REFERENCE_ERRORS
from gradcheck_lab.model.precision.kinks import NEARLY_RIGHT, NEARLY_ZERO
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.oracles.autograd.subgradients import Interval, Subgradients
from gradcheck_lab.subjects.subject import Key

Pair = tuple[torch.Tensor, torch.Tensor]


def admitted(
    oracle: AutogradOracle, index: int, actual: torch.Tensor, truth: torch.Tensor, to_last_digit: bool = False
) -> bool:
    """Whether every element of an input's gradient is nearly right, or lies between the gradients nearby, at a kink.

    With `to_last_digit` one that is nearly right throughout, so that no kink is in question, is not.
    """
    if truth.is_complex() or not bool(torch.isfinite(actual).all()):
        return False
    value = actual.to(truth)
    right = (value - truth).abs() <= NEARLY_RIGHT.value * truth.abs() + NEARLY_ZERO.value * truth.abs().amax()
    if to_last_digit and bool(right.all()):
        return False

    def doubtful(interval: Interval) -> torch.Tensor:
        return ~(right | interval.admits(value))

    for interval in Subgradients(oracle).intervals(Key("input", index), doubtful):
        left = doubtful(interval)
        if not bool(left.any()):
            return True
        if not bool(interval.at.any()):
            return False
    return False


def kinked(oracle: AutogradOracle, index: int) -> bool:
    """Whether the gradient of an input nearby differs from that at the point, in any element, however near."""
    nearest = next(Subgradients(oracle).intervals(Key("input", index), lambda interval: interval.kink), None)
    return nearest is not None and bool(nearest.at.any())


def _own_jumps(oracle: AutogradOracle) -> dict[int, torch.Tensor]:
    """By input, how much each element of the gradient jumps where all values move up or down together; zero for most.

    Ties stay ties then, and no tie jumps: what does is at a kink of its own, as |x| at 0, where each element has an interval.
    """
    sides = []
    for sign in (1, -1):
        inputs = tuple(_moved(value, sign) for value in oracle.case.inputs)
        try:
            sides.append(oracle.run(torch.float64, case=replace(oracle.case, inputs=inputs)).gradients)
        except Exception:  # outside the domain on this side: nothing jumps that is known
            return {}
    found: dict[int, torch.Tensor] = {}
    for key, up in sides[0].items():
        down = sides[1].get(key)
        if key.role == "input" and up is not None and down is not None and not up.is_complex():
            jump = (up - down).abs().nan_to_num(0, 0, 0)
            found[key.first] = torch.where(jump > NOT_ROUNDING.value * torch.maximum(up.abs(), down.abs()), jump, 0)
    return found


def unconserved(
    oracle: AutogradOracle, inputs: tuple[Any, ...], pairs: Mapping[int, Pair], allowed: float
) -> tuple[float, float] | None:
    """What gradients and truths add up to where these sums differ by more than `allowed`; None where they agree.

    Elements that jump by themselves are left out; where values equal to theirs do not, these may tie, and jumps are allowed.
    """
    kept = {i: torch.ones(truth.shape, dtype=torch.bool, device=truth.device) for i, (_, truth) in pairs.items()}
    actual, wanted = _sums(pairs, kept)
    if abs(actual - wanted) <= allowed:
        return None
    jumps = {i: jump for i, jump in _own_jumps(oracle).items() if i in pairs and bool(jump.any())}
    kept |= {i: jump == 0 for i, jump in jumps.items()}
    values = {i: inputs[i].detach().double() for i in pairs}
    jumping, calm = (torch.cat([values[i][kept[i] == side] for i in pairs]) for side in (False, True))
    if bool(torch.isin(jumping, calm).any()):
        allowed += sum(float(jump.sum()) for jump in jumps.values())
    else:
        actual, wanted = _sums(pairs, kept)
    if abs(actual - wanted) > allowed:
        dtype = next(inputs[i].dtype for i in pairs)
        found = [] if is_wide(dtype) else oracle.references("native", dtype)
        # a row that rounds to one of no spread, as its mean does, has the gradient of a row with some
        for each in found:
            native = {i: (each.gradients.get(Key("input", i)), truth) for i, (_, truth) in pairs.items()}
            known = {i: (truth if g is None else g, truth) for i, (g, truth) in native.items()}
            allowed += REFERENCE_ERRORS.value * abs(_sums(known, kept)[0] - wanted)
    return (actual, wanted) if abs(actual - wanted) > allowed else None


def _sums(pairs: Mapping[int, Pair], kept: Mapping[int, torch.Tensor]) -> tuple[float, float]:
    sums = [sum(float(pair[side].double()[kept[i]].sum()) for i, pair in pairs.items()) for side in (0, 1)]
    return sums[0], sums[1]


def _moved(value: Any, sign: int) -> Any:
    if not is_differentiable(value) or value.is_complex() or not value.numel():
        return value
    wide = value.detach().double()
    return wide + sign * ALL_TOGETHER.value * max(1.0, float(wide.abs().max()))
