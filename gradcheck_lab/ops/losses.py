"""Losses, with their reductions."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.op import op
from gradcheck_lab.ops._reduce import refuse_reduction
from gradcheck_lab.specs import labels, probabilities, real

Grad = torch.Tensor | None


@op(real("*b c"), labels("*b", classes="c"))
def softmax_cross_entropy(logits: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean") -> torch.Tensor:
    """-Σ t log softmax(logits) over the classes, then `reduction` over the rows; stable for any finite logits.

    `logits` (*b, c); `target` class indices (*b) of an integer dtype, or weights (*b, c) (one-hot or soft, which need
    not sum to one and get a gradient too). `reduction` is "none" (output of shape (*b)), "sum", or "mean" over rows.
    Raises `InvalidArgument` for labels that are floats, out of range, or of the wrong length.
    Source: Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.4.

    >>> softmax_cross_entropy(torch.tensor([[1e4, -1e4]]), torch.tensor([1]))
    tensor(20000.)
    """
    log_p = torch.log_softmax(logits, -1)
    if target.is_floating_point():
        rows = -(target * log_p).sum(-1)
    else:
        rows = -log_p.gather(-1, target.long().unsqueeze(-1)).squeeze(-1)
    if reduction == "none":
        return rows
    return rows.sum() if reduction == "sum" else rows.mean()


@softmax_cross_entropy.accepts(real("*b c"), probabilities("*b c"))
@softmax_cross_entropy.validator
def check_targets(logits: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean") -> None:
    """Raise `InvalidArgument` for logits and targets that cannot mean a classification."""
    refuse_reduction("softmax_cross_entropy", reduction, ("none", "mean", "sum"))
    if not isinstance(logits, torch.Tensor) or not isinstance(target, torch.Tensor) or logits.ndim == 0:
        return
    rows, shape = tuple(logits.shape[:-1]), tuple(target.shape)
    if target.is_floating_point():
        if shape != tuple(logits.shape):
            what = "class labels are whole numbers; pass target.long()" if shape == rows else "pass one weight per logit"
            raise InvalidArgument(
                f"softmax_cross_entropy: target is {target.dtype} of shape {shape} for logits of shape "
                f"{tuple(logits.shape)}; {what}"
            )
        return
    if shape != rows:
        raise InvalidArgument(
            f"softmax_cross_entropy: target has shape {shape} and logits of shape {tuple(logits.shape)} have rows {rows}; "
            f"pass one class label per row"
        )
    classes = logits.shape[-1]
    if target.numel() and not (int(target.min()) >= 0 and int(target.max()) < classes):
        raise InvalidArgument(
            f"softmax_cross_entropy: labels range from {int(target.min())} to {int(target.max())} and {classes} classes "
            f"have labels 0 to {classes - 1}; renumber the labels or widen the logits"
        )


@softmax_cross_entropy.backward
def softmax_cross_entropy_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    logits: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
) -> tuple[torch.Tensor, Grad]:
    """dlogits = g (softmax(logits) Σ t - t), dtarget = -g log softmax(logits); g is divided by the rows for "mean"."""
    g = _per_row(grad_output, logits.shape[:-1], reduction).unsqueeze(-1)
    log_p = torch.log_softmax(logits, -1)
    if target.is_floating_point():
        return g * (log_p.exp() * target.sum(-1, keepdim=True) - target), -g * log_p
    one = torch.ones((), dtype=logits.dtype, device=logits.device).expand(*target.shape, 1)
    return g * log_p.exp().scatter_add(-1, target.long().unsqueeze(-1), -one), None


@op(real("*b d"), real("*b d"))
def mse_loss(prediction: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean") -> torch.Tensor:
    """(prediction - target)², then `reduction`.

    `prediction` and `target` have the same shape (*b, d). `reduction` is "none" (the output has their shape), "sum", "mean"
    over all elements, or "batchmean": summed over the last dimension, averaged over the leading ones.
    Raises `InvalidArgument` for different shapes, which would broadcast or not fit at all.
    Source: Bishop, "Pattern Recognition and Machine Learning", 2006, section 3.1.1.

    >>> mse_loss(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [0.0]]))
    tensor(5.)
    """
    squares = (prediction - target).square()
    return squares if reduction == "none" else squares.sum() / _divisor(prediction.shape, reduction)


mse_loss.accepts(real("*b"), real("*b"))


@mse_loss.validator
def refuse_broadcast(prediction: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean") -> None:
    """Raise `InvalidArgument` for a prediction and a target of different shapes."""
    refuse_reduction("mse_loss", reduction, ("none", "mean", "sum", "batchmean"))
    if not isinstance(prediction, torch.Tensor) or not isinstance(target, torch.Tensor):
        return
    left, right = tuple(prediction.shape), tuple(target.shape)
    if left == right:
        return
    try:
        joint = f"they would broadcast to {tuple(torch.broadcast_shapes(left, right))}"
    except RuntimeError:
        joint = "they do not fit"
    size = target.numel() == prediction.numel()
    fix = f"pass target.reshape({left})" if size else "give both the same shape"
    raise InvalidArgument(f"mse_loss: prediction has shape {left} and target {right}; {joint}; {fix}")


@mse_loss.backward
def mse_loss_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    prediction: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
) -> tuple[torch.Tensor, torch.Tensor]:
    """dprediction = 2 g (prediction - target) / n, dtarget its negative; n as the reduction divides."""
    divisor = 1 if reduction == "none" else _divisor(prediction.shape, reduction)
    grad = grad_output * (2 * (prediction - target)) / divisor
    return grad, -grad


def _divisor(shape: torch.Size, reduction: str) -> int:
    if reduction == "sum":
        return 1
    return shape.numel() if reduction == "mean" else shape[:-1].numel()


def _per_row(grad_output: torch.Tensor, rows: torch.Size, reduction: str) -> torch.Tensor:
    return (grad_output / rows.numel() if reduction == "mean" else grad_output).expand(rows)
