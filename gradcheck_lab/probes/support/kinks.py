"""Kinks on derived calls: whether a gradient that differs there is another subgradient."""

from __future__ import annotations

import torch

from gradcheck_lab.model.precision.kinks import NEARLY_RIGHT, NEARLY_ZERO
from gradcheck_lab.oracles.autograd.passes import AutogradOracle
from gradcheck_lab.oracles.autograd.subgradients import Interval, Subgradients
from gradcheck_lab.subjects.subject import Key


def admitted(oracle: AutogradOracle, index: int, actual: torch.Tensor, truth: torch.Tensor) -> bool:
    """Whether every element of an input's gradient is nearly right, or lies between the gradients nearby, at a kink."""
    if truth.is_complex() or not bool(torch.isfinite(actual).all()):
        return False
    value = actual.to(truth)
    right = (value - truth).abs() <= NEARLY_RIGHT.value * truth.abs() + NEARLY_ZERO.value * truth.abs().amax()

    def doubtful(interval: Interval) -> torch.Tensor:
        return ~(right | interval.admits(value))

    for interval in Subgradients(oracle).intervals(Key("input", index), doubtful):
        left = doubtful(interval)
        if not bool(left.any()):
            return True
        if not bool((interval.kink | interval.alone).any()):
            return False
    return False


def kinked(oracle: AutogradOracle, index: int) -> bool:
    """Whether the gradient of an input nearby differs from that at the point, in any element, however near."""
    nearest = next(Subgradients(oracle).intervals(Key("input", index), lambda interval: interval.kink), None)
    return nearest is not None and bool((nearest.kink | nearest.alone).any())
