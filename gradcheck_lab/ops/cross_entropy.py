"""Softmax cross-entropy, in one stable step, with everything that torch's takes."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._losses import (
    counted_rows,
    mean_over_counted,
    per_row,
    reduced,
    refuse_class_weight,
    refuse_labels,
    row_weights,
)
from gradcheck_lab.ops._reduce import refuse_reduction
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import labels, probabilities, real

Grad = torch.Tensor | None
NAME = "softmax_cross_entropy"
CHOICES = {"reduction": ("mean", "sum", "none"), "label_smoothing": (0.0, 0.1), "ignore_index": (-100, 1)}


@op(real("*b c"), labels("*b", classes="c"), choices=CHOICES)
def softmax_cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
    weight: torch.Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """-Σ w q log softmax(logits) over the classes, then `reduction` over the rows; stable for any finite logits.

    `logits` (*b, c); `target` class indices (*b) of an integer dtype, or weights (*b, c) (one-hot or soft, which need
    not sum to one and get a gradient too). q is the target, mixed with 1/c by `label_smoothing`; w is the class weight,
    `weight` (c,), which gets no gradient. `reduction` is "none" (output of shape (*b)), "sum", or "mean": over rows, or with
    class indices over the summed weights of the rows whose label is not `ignore_index`; NaN where there are none.
    Raises `InvalidArgument` for labels that are floats, out of range, or of the wrong length, for weights that are not one per
    class, for smoothing outside [0, 1], and for an `ignore_index` of a class where the target has no indices.
    Source: Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.4; smoothing: Szegedy et al., "Rethinking
    the inception architecture", 2016, section 7.

    >>> softmax_cross_entropy(torch.tensor([[1e4, -1e4]]), torch.tensor([1]))
    tensor(20000.)
    """
    log_p = torch.log_softmax(logits, -1)
    w = None if weight is None else weight.to(logits)
    if target.is_floating_point():
        q = _smoothed(target, w, label_smoothing)
        return reduced(-(q * log_p).sum(-1), reduction)
    classes, counts = counted_rows(target, ignore_index)
    weights = row_weights(logits, classes, counts, weight)
    rows = -log_p.gather(-1, classes.unsqueeze(-1)).squeeze(-1) * ((1 - label_smoothing) * weights)
    if label_smoothing:
        over_classes = log_p if w is None else log_p * w
        rows = rows - over_classes.sum(-1) * _share(label_smoothing, logits)
    return mean_over_counted(rows.where(counts, 0), weights, reduction)


@softmax_cross_entropy.accepts(real("*b c"), probabilities("*b c"))
@softmax_cross_entropy.validator
def check_targets(
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
    weight: torch.Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> None:
    """Raise `InvalidArgument` for logits and targets that cannot mean a classification."""
    refuse_reduction(NAME, reduction, ("none", "mean", "sum"))
    if not 0 <= label_smoothing <= 1:
        raise InvalidArgument(f"{NAME}: label_smoothing is {label_smoothing}; pass a share from 0 to 1")
    if not isinstance(logits, torch.Tensor) or not isinstance(target, torch.Tensor) or logits.ndim == 0:
        return
    rows, shape, classes = logits.shape[:-1], tuple(target.shape), logits.shape[-1]
    refuse_class_weight(NAME, weight, classes)
    if not target.is_floating_point():
        refuse_labels(NAME, "logits", rows, classes, target, ignore_index)
        return
    if target.shape != logits.shape:
        what = "class labels are whole numbers; pass target.long()" if target.shape == rows else "pass one weight per logit"
        raise InvalidArgument(
            f"{NAME}: target is {target.dtype} of shape {shape} for logits of shape {tuple(logits.shape)}; {what}"
        )
    if ignore_index >= 0:
        raise InvalidArgument(
            f"{NAME}: ignore_index is {ignore_index} and target has weights, not labels; give the rows to ignore the weight 0"
        )


@softmax_cross_entropy.backward
def softmax_cross_entropy_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
    weight: torch.Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> tuple[torch.Tensor, Grad]:
    """dlogits = g (softmax(logits) Σ w q - w q), dtarget = -g (1 - ε) w log softmax(logits), ε the smoothing; g as reduced.

    In place of a dense q = (1 - ε) t + ε / c, labels take the one-hot part and the uniform part each by itself.
    """
    w = None if weight is None else weight.to(logits)
    if target.is_floating_point():
        g = grad_output / logits.shape[:-1].numel() if reduction == "mean" else grad_output
        g = g.expand(logits.shape[:-1]).unsqueeze(-1)
        log_p, q = torch.log_softmax(logits, -1), _smoothed(target, w, label_smoothing)
        scale = -g * (1 - label_smoothing) if w is None else -g * (1 - label_smoothing) * w
        return g * (log_p.exp() * q.sum(-1, keepdim=True) - q), scale * log_p
    classes, counts = counted_rows(target, ignore_index)
    weights = row_weights(logits, classes, counts, weight)
    g = per_row(grad_output, weights, counts, reduction).unsqueeze(-1)
    p, of_label = torch.softmax(logits, -1), g * (1 - label_smoothing) * weights.unsqueeze(-1)
    at = classes.unsqueeze(-1)
    # the label's own element is p - 1 before it is scaled, which is exact where p is nearly 1
    grad = (p * of_label).scatter_(-1, at, (p.gather(-1, at) - 1) * of_label)
    if label_smoothing:
        towards = p * logits.shape[-1] - 1 if w is None else p * w.sum() - w
        grad = grad + g * _share(label_smoothing, logits) * towards
    return grad, None


def _smoothed(target: torch.Tensor, w: torch.Tensor | None, label_smoothing: float) -> torch.Tensor:
    q = target * (1 - label_smoothing) + _share(label_smoothing, target) if label_smoothing else target
    return q if w is None else q * w


def _share(label_smoothing: float, logits: torch.Tensor) -> float:
    return label_smoothing / max(1, logits.shape[-1])
