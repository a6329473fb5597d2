"""The loss of yes-or-no questions."""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid

from gradcheck_lab.ops._losses import divisor, reduced, refuse_different_shapes, refuse_weight
from gradcheck_lab.ops._reduce import refuse_reduction
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

NAME = "binary_cross_entropy_with_logits"


@op(real("*s"), real("*s"))
def binary_cross_entropy_with_logits(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
    weight: torch.Tensor | None = None,
    pos_weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """-w (ρ t log σ(logits) + (1 - t) log σ(-logits)), then `reduction`; stable for any finite logits.

    `logits` and `target` have the same shape, any; targets are usually in [0, 1] and get a gradient too. w is `weight`, of one
    number per element, and ρ `pos_weight`, of one per positive answer; both broadcast to the logits and get no gradient.
    `reduction` is "none" (the output has the shape of the logits), "sum" or "mean", over all elements whatever they weigh.
    Raises `InvalidArgument` for different shapes, and for weights that do not broadcast to that of the logits.
    Source: Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.2.

    >>> binary_cross_entropy_with_logits(torch.tensor([0.0, 1e4]), torch.tensor([1.0, 0.0]))
    tensor(5000.3467)
    """
    yes = target if pos_weight is None else target * pos_weight.to(logits)
    losses = -(yes * logsigmoid(logits) + (1 - target) * logsigmoid(-logits))
    return reduced(losses if weight is None else losses * weight.to(logits), reduction)


@binary_cross_entropy_with_logits.validator
def refuse_weights(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
    weight: torch.Tensor | None = None,
    pos_weight: torch.Tensor | None = None,
) -> None:
    """Raise `InvalidArgument` for targets or weights that do not fit the logits."""
    refuse_reduction(NAME, reduction, ("none", "mean", "sum"))
    refuse_different_shapes(NAME, "logits", logits, "target", target)
    if isinstance(logits, torch.Tensor):
        refuse_weight(NAME, "weight", weight, logits.shape, "one number per logit")
        refuse_weight(NAME, "pos_weight", pos_weight, logits.shape, "one number per class, in the last dimension")


@binary_cross_entropy_with_logits.backward
def binary_cross_entropy_with_logits_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
    weight: torch.Tensor | None = None,
    pos_weight: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """dlogits = g w ((1 - t) σ(logits) - ρ t σ(-logits)), dtarget = g w (log σ(-logits) - ρ log σ(logits)); g as reduced."""
    g = grad_output / divisor(logits.shape, reduction)
    if weight is not None:
        g = g * weight.to(logits)
    yes, log_p = target, logsigmoid(logits)
    if pos_weight is not None:
        yes, log_p = target * pos_weight.to(logits), log_p * pos_weight.to(logits)
    towards = (1 - target) * torch.sigmoid(logits) - yes * torch.sigmoid(-logits)
    return g * towards, g * (logsigmoid(-logits) - log_p)
