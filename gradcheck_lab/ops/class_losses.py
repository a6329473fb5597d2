"""Losses of class probabilities that somebody else has computed, and the cross-entropy in two steps of teaching code."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.model.precision import is_narrow
from gradcheck_lab.ops._losses import (
    counted_rows,
    mean_over_counted,
    per_row,
    reduced,
    refuse_class_weight,
    refuse_different_shapes,
    refuse_labels,
    row_weights,
)
from gradcheck_lab.ops._reduce import refuse_reduction
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import labels, one_hot, real

REDUCTIONS = ("none", "mean", "sum")


@op(real("*b c"), labels("*b", classes="c"), choices={"reduction": ("mean", "sum", "none"), "ignore_index": (-100, 1)})
def nll_loss(
    log_probabilities: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
    weight: torch.Tensor | None = None,
    ignore_index: int = -100,
) -> torch.Tensor:
    """-w log_probabilities[target], then `reduction` over the rows.

    `log_probabilities` (*b, c), as of a log-softmax; `target` class indices (*b); w is the class weight, `weight` (c,), which
    gets no gradient. `reduction` is "none" (output of shape (*b), 0 where the label is `ignore_index`), "sum", or "mean": over
    the summed weights of the rows that count, NaN where there are none.
    Raises `InvalidArgument` for labels out of range or of the wrong length, and for weights that are not one per class.
    Source: Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.2.

    >>> nll_loss(torch.tensor([[-1.0, -2.0], [-3.0, -4.0]]), torch.tensor([1, 0]))
    tensor(2.5000)
    """
    classes, counts = counted_rows(target, ignore_index)
    weights = row_weights(log_probabilities, classes, counts, weight)
    rows = -log_probabilities.gather(-1, classes.unsqueeze(-1)).squeeze(-1) * weights
    return mean_over_counted(rows.where(counts, 0), weights, reduction)


@nll_loss.validator
def check_labels(
    log_probabilities: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
    weight: torch.Tensor | None = None,
    ignore_index: int = -100,
) -> None:
    """Raise `InvalidArgument` for labels and weights that do not fit the classes."""
    refuse_reduction("nll_loss", reduction, REDUCTIONS)
    if not isinstance(log_probabilities, torch.Tensor) or not isinstance(target, torch.Tensor) or log_probabilities.ndim == 0:
        return
    refuse_class_weight("nll_loss", weight, log_probabilities.shape[-1])
    if not target.is_floating_point():
        rows, classes = log_probabilities.shape[:-1], log_probabilities.shape[-1]
        refuse_labels("nll_loss", "log_probabilities", rows, classes, target, ignore_index)


@nll_loss.backward
def nll_loss_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    log_probabilities: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
    weight: torch.Tensor | None = None,
    ignore_index: int = -100,
) -> tuple[torch.Tensor, None]:
    """dlog_probabilities = -g w at the label of each row that counts, 0 elsewhere; g as the reduction divides."""
    classes, counts = counted_rows(target, ignore_index)
    weights = row_weights(log_probabilities, classes, counts, weight)
    g = per_row(grad_output, weights, counts, reduction) * weights
    zeros = torch.zeros_like(log_probabilities)
    return zeros.scatter(-1, classes.unsqueeze(-1), -g.unsqueeze(-1)), None


@op(real("*b c"), one_hot("*b c"), choices={"reduction": ("mean", "sum", "none"), "eps": (1e-7, 1e-3)})
def two_step_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean", eps: float = 1e-7
) -> torch.Tensor:
    """-Σ t log(softmax(logits) + ε) over the classes, then `reduction` over the rows: the loss of teaching code, as it is.

    `logits` and `target` have shape (*b, c). `eps` keeps the logarithm finite where a probability underflows to 0; there the
    loss stops at -log ε and its gradient vanishes, where that of `softmax_cross_entropy` keeps its size. With eps = 0 both
    are the same but for underflow. Probabilities of 16 bits are kept in float32. `reduction` is "none" (output of shape (*b)),
    "sum", or "mean" over rows.
    Raises `InvalidArgument` for different shapes, and an `eps` below 0.
    Source: Saitoh, "Deep Learning from Scratch", 2016, section 4.2.

    >>> two_step_cross_entropy(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]]))
    tensor(16.1181)
    """
    p = torch.softmax(logits, -1, dtype=_wide(logits.dtype))
    return reduced(-(target * torch.log(p + eps)).sum(-1), reduction).to(logits.dtype)


@two_step_cross_entropy.validator
def refuse_epsilon(logits: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean", eps: float = 1e-7) -> None:
    """Raise `InvalidArgument` for different shapes, and an epsilon whose logarithm may not exist."""
    refuse_reduction("two_step_cross_entropy", reduction, REDUCTIONS)
    if not eps >= 0:
        raise InvalidArgument(f"two_step_cross_entropy: eps is {eps}; pass 0 or a small number above it, such as 1e-7")
    refuse_different_shapes("two_step_cross_entropy", "logits", logits, "target", target)


@two_step_cross_entropy.backward
def two_step_cross_entropy_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
    eps: float = 1e-7,
) -> tuple[torch.Tensor, torch.Tensor]:
    """dlogits = g (p Σ s - s) with p = softmax(logits) and s = t p / (p + ε), dtarget = -g log(p + ε); g as reduced."""
    rows = logits.shape[:-1]
    g = (grad_output / rows.numel() if reduction == "mean" else grad_output).expand(rows).unsqueeze(-1)
    p = torch.softmax(logits, -1, dtype=_wide(logits.dtype))
    shifted, down = p + eps, -g
    s = p / shifted * (down * target)
    dlogits, dtarget = torch.addcmul(s, p, s.sum(-1, keepdim=True), value=-1), down * torch.log(shifted)
    return dlogits.to(logits.dtype), dtarget.to(target.dtype)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """float32 for 16 bits, in which neither the probabilities nor 1e-7 can be told from 0."""
    return torch.float32 if is_narrow(dtype) else dtype
