"""What the losses share: reductions of elementwise terms, class labels that are ignored, and refusals of what does not fit."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument


def divisor(shape: torch.Size, reduction: str) -> int:
    """What `reduction` divides the summed elements of a tensor of `shape` by: all of them, the leading sizes, or 1."""
    if reduction in ("sum", "none"):
        return 1
    return shape.numel() if reduction == "mean" else shape[:-1].numel()


def reduced(elements: torch.Tensor, reduction: str) -> torch.Tensor:
    """The elements ("none"), their sum, or their mean; stable in 16 bits, where a sum may overflow and a mean not.

    >>> reduced(torch.full((70000,), 2.0, dtype=torch.float16), "mean")
    tensor(2., dtype=torch.float16)
    """
    if reduction == "none":
        return elements
    return elements.mean() if reduction == "mean" else elements.sum()


def refuse_different_shapes(op: str, first: str, left: torch.Tensor, second: str, right: torch.Tensor) -> None:
    """Raise `InvalidArgument` for two inputs of different shapes, which would broadcast or not fit at all."""
    if not isinstance(left, torch.Tensor) or not isinstance(right, torch.Tensor) or left.shape == right.shape:
        return
    a, b = tuple(left.shape), tuple(right.shape)
    try:
        joint = f"they would broadcast to {tuple(torch.broadcast_shapes(a, b))}"
    except RuntimeError:
        joint = "they do not fit"
    size = right.numel() == left.numel()
    fix = f"pass {second}.reshape({a})" if size else "give both the same shape"
    raise InvalidArgument(f"{op}: {first} has shape {a} and {second} {b}; {joint}; {fix}")


def refuse_weight(op: str, name: str, weight: torch.Tensor | None, shape: torch.Size, what: str) -> None:
    """Raise `InvalidArgument` for an option that is no tensor, or one that would not broadcast to `shape`."""
    if weight is None:
        return
    if not isinstance(weight, torch.Tensor):
        raise InvalidArgument(f"{op}: {name} is a {type(weight).__name__}; pass a tensor, {what}")
    try:
        fits = torch.broadcast_shapes(weight.shape, shape) == shape
    except RuntimeError:
        fits = False
    if not fits:
        raise InvalidArgument(f"{op}: {name} has shape {tuple(weight.shape)} and the logits {tuple(shape)}; pass {what}")


def refuse_class_weight(op: str, weight: torch.Tensor | None, classes: int) -> None:
    """Raise `InvalidArgument` for class weights that are not one number per class."""
    if weight is None:
        return
    if not isinstance(weight, torch.Tensor):
        raise InvalidArgument(f"{op}: weight is a {type(weight).__name__}; pass a tensor, one number per class")
    if tuple(weight.shape) != (classes,):
        raise InvalidArgument(
            f"{op}: weight has shape {tuple(weight.shape)} and the rows have {classes} classes; "
            f"pass one number per class, of shape ({classes},)"
        )


def refuse_labels(op: str, scores: str, rows: torch.Size, classes: int, target: torch.Tensor, ignore_index: int) -> None:
    """Raise `InvalidArgument` for labels that are not one per row, or out of range and not `ignore_index`."""
    if target.shape != rows:
        raise InvalidArgument(
            f"{op}: target has shape {tuple(target.shape)} and {scores} of shape {(*rows, classes)} have rows {tuple(rows)}; "
            f"pass one class label per row"
        )
    counted = target[target != ignore_index]
    if counted.numel() and not (int(counted.min()) >= 0 and int(counted.max()) < classes):
        raise InvalidArgument(
            f"{op}: labels range from {int(counted.min())} to {int(counted.max())} and {classes} classes "
            f"have labels 0 to {classes - 1}; renumber the labels or widen the {scores}"
        )


def counted_rows(target: torch.Tensor, ignore_index: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels as int64, 0 where they are ignored, and a mask of the rows that count."""
    labels = target.long()
    counts = labels != ignore_index
    return labels.where(counts, 0), counts


def row_weights(scores: torch.Tensor, labels: torch.Tensor, counts: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """The weight of every row's class, 0 for a row that does not count; what a mean divides by is their sum."""
    if weight is None:
        return counts.to(scores.dtype)
    return weight.to(scores)[labels] * counts


def mean_over_counted(rows: torch.Tensor, weights: torch.Tensor, reduction: str) -> torch.Tensor:
    """Reduce losses of rows that are weighted already; the mean is over the sum of the weights, NaN where that is 0."""
    total = reduced(rows, reduction)
    return total / weights.mean() if reduction == "mean" else total


def per_row(grad_output: torch.Tensor, weights: torch.Tensor, counts: torch.Tensor, reduction: str) -> torch.Tensor:
    """The upstream gradient of every row's weighted loss: 0, whatever the divisor, where a row does not count."""
    if reduction == "mean":
        grad_output = grad_output / weights.numel() / weights.mean()
    return grad_output.expand(weights.shape).where(counts, 0)
