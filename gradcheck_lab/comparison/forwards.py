"""The forward of the hand-written side, compared with that of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gradcheck_lab.calls.case import is_differentiable
from gradcheck_lab.comparison.budget import judge
from gradcheck_lab.comparison.findings import number
from gradcheck_lab.model.findings import Finding
from gradcheck_lab.model.precision import is_narrow, is_wide
from gradcheck_lab.model.precision.derived_calls import FORWARDS_APART
from gradcheck_lab.model.precision.fits import SOUND_ROUNDINGS, SOUND_ROUNDINGS_16_BITS
from gradcheck_lab.oracles.autograd.passes import AutogradOracle, Pass


def forward_mismatch(outputs: Sequence[Any], truth: Pass, oracle: AutogradOracle, margin: float = 1.0) -> Finding | None:
    """The finding for a forward that is not the reference's; None where they agree within `margin` times the rounding."""
    if len(outputs) != len(truth.outputs):
        return _mismatch(f"forward has {len(outputs)} outputs and the reference {len(truth.outputs)}", "")
    for k, (mine, wide) in enumerate(zip(outputs, truth.outputs, strict=True)):
        what = "output" if len(outputs) == 1 else f"output {k}"
        if not isinstance(mine, torch.Tensor) or not isinstance(wide, torch.Tensor) or not is_differentiable(mine):
            continue
        if mine.shape != wide.shape:
            return _mismatch(f"{what} has shape {tuple(mine.shape)}, that of the reference {tuple(wide.shape)}", "")
        roundings = (SOUND_ROUNDINGS_16_BITS if is_narrow(mine.dtype) else SOUND_ROUNDINGS).value
        found = judge(mine, wide.detach(), mine.dtype, roundings=roundings, margin=margin)
        if not found.passed:
            simulated = [each.outputs[k].detach() for each in oracle.references("simulated", mine.dtype)]
            found = judge(mine, wide.detach(), mine.dtype, simulated, roundings=roundings, margin=margin)
        if not found.passed and found.worst_index is not None:
            at = found.worst_index
            values = f"forward {number(mine[at])!r}, reference {number(wide[at])!r}"
            return _mismatch(f"{what} differs from the reference's", f"first seen at {list(at)}: {values}")
    return None


def overflows_alone(outputs: Sequence[Any], truth: Pass, oracle: AutogradOracle) -> bool:
    """Whether outputs are not finite where those of the reference are, both in float64 and in the dtype of the inputs."""
    native = [each.outputs for each in (truth, *oracle.references("native", torch.float64))]
    for k, mine in enumerate(outputs):
        theirs = [each[k] for each in native if k < len(each) and isinstance(each[k], torch.Tensor)]
        if len(native) < 2 or len(theirs) < len(native) or not is_differentiable(mine):
            continue
        if any(each.shape != mine.shape for each in theirs):
            continue
        finite = torch.stack([torch.isfinite(each.detach()) for each in theirs]).all(0)
        if bool((finite & ~torch.isfinite(mine.detach())).any()):
            return True
    return False


def are_far_apart(outputs: Sequence[Any], truth: Pass) -> bool:
    """Whether finite outputs in float64 differ from those of the reference by more than another formula may."""
    for mine, theirs in zip(outputs, truth.outputs, strict=False):
        if not is_differentiable(mine) or not isinstance(theirs, torch.Tensor) or mine.shape != theirs.shape:
            continue
        finite = bool(torch.isfinite(mine).all()) and bool(torch.isfinite(theirs).all())
        if finite and mine.numel() and is_wide(mine.dtype):
            size = float(theirs.detach().abs().max())
            if float((mine.detach() - theirs.detach()).abs().max()) > FORWARDS_APART.value * size:
                return True
    return False


def _mismatch(message: str, where: str) -> Finding:
    return Finding(
        "forward-mismatch",
        "error",
        message,
        explanation="the forward is another function than the reference, so their gradients cannot be compared",
        suggestion="make the two forwards agree first",
        where=where,
    )
