"""Whether a gradient is that of another random mask: the forward's few factors, at other elements."""

from __future__ import annotations

from dataclasses import replace

import torch

from gradcheck_lab.examination.examined import Examined
from gradcheck_lab.model.amounts import SEED_OF_FURTHER_DRAWS
from gradcheck_lab.model.limits import FEW_FACTORS
from gradcheck_lab.model.precision.derived_calls import MAPPED, MAPPED_NEAR_ZERO
from gradcheck_lab.probes.support.context import Context
from gradcheck_lab.probes.support.true_gradients import true_gradient


def is_of_another_mask(context: Context, index: int) -> bool:
    """Whether, on two draws, a gradient is its upstream times the true factors, some of them at the elements of others."""
    case = replace(context.case, seed=context.case.seed + SEED_OF_FURTHER_DRAWS.value, grad_outputs=None)
    if not _has_moved_factors(context.examined, index):
        return False
    again = context.against_oracle(case)
    return again is not None and _has_moved_factors(again, index)


def _has_moved_factors(examined: Examined, index: int) -> bool:
    upstream, truth = examined.case.grad_outputs or (), true_gradient(examined, index)
    actual = examined.returned[index] if index < len(examined.returned) else None
    if len(upstream) != 1 or truth is None or not isinstance(actual, torch.Tensor):
        return False
    if not actual.shape == truth.shape == upstream[0].shape or truth.is_complex() or not bool(upstream[0].all()):
        return False
    mine, wanted = (v.detach().double() / upstream[0].double() for v in (actual, truth))
    factors, apart = _distinct(wanted), ~_close(mine, wanted)
    if not 1 < len(factors) <= FEW_FACTORS.value or bool(apart.all()):
        return False
    # one way alone they are a mask that was left out, or elements that were not written
    both_ways = bool((mine > wanted)[apart].any()) and bool((mine < wanted)[apart].any())
    return both_ways and bool(_close(mine.unsqueeze(-1), torch.stack(factors)).any(-1).all())


def _distinct(values: torch.Tensor) -> list[torch.Tensor]:
    """The distinct values, as far as one more than the limit."""
    left, found = values.reshape(-1), list[torch.Tensor]()
    while left.numel() and len(found) <= FEW_FACTORS.value:
        found.append(left[0])
        left = left[~_close(left, left[0])]
    return found


def _close(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.isclose(one, other, MAPPED.value, MAPPED_NEAR_ZERO.value)
