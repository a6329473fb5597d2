"""References whose rounding was simulated: elements that crossed a kink are told from noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from gradcheck_lab.model.amounts import COARSER_ROUNDING
from gradcheck_lab.model.precision.budget import CALM, JUMP, NOISE_GROWTH


def without_jumps(
    references: Sequence[torch.Tensor], truth: torch.Tensor, coarser: Callable[[int], Sequence[torch.Tensor]]
) -> list[torch.Tensor]:
    """Simulated references, but for elements that a perturbation moved across a kink: those say nothing of rounding.

    They are told by the gap: ill-conditioning errs by all amounts, a kink by everything beside elements that hardly err. So
    does what is left where terms cancel; but that grows with the rounding, and a jump is as large where rounding is `coarser`.
    """
    jumps = [_jumps(reference, truth) for reference in references]
    if not any(bool(jumped.any()) for jumped in jumps):
        return list(references)
    more = coarser(COARSER_ROUNDING.value)
    if len(more) == len(references):
        grown = [(c - truth).abs() >= NOISE_GROWTH.value * (r - truth).abs() for c, r in zip(more, references, strict=True)]
        jumps = [jumped & ~noise for jumped, noise in zip(jumps, grown, strict=True)]
    return [torch.where(jumped, truth, r) for jumped, r in zip(jumps, references, strict=True)]


def _jumps(reference: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The elements that err by everything, where all others hardly err; none where there is no such gap."""
    none = torch.zeros(reference.shape, dtype=torch.bool, device=reference.device)
    if not truth.numel() or reference.shape != truth.shape:
        return none
    size = torch.maximum(truth.abs(), truth.abs().square().mean().sqrt())
    error = (reference - truth).abs()
    jumped = error > JUMP.value * size
    calm = error[~jumped & (truth != 0)]
    made_unequal = bool(jumped.any()) and calm.numel() > 0 and float(calm.max()) <= CALM.value * float(size.max())
    return jumped if made_unequal else none
