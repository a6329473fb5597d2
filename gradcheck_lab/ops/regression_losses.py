"""Losses of a prediction and a target of the same shape, each gradient a function of their difference."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._losses import divisor, reduced, refuse_different_shapes
from gradcheck_lab.ops._reduce import refuse_reduction
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Pair = tuple[torch.Tensor, torch.Tensor]
REDUCTIONS = ("none", "mean", "sum")


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
    return squares if reduction == "none" else squares.sum() / divisor(prediction.shape, reduction)


mse_loss.accepts(real("*b"), real("*b"))


@mse_loss.validator
def refuse_broadcast(prediction: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean") -> None:
    """Raise `InvalidArgument` for a prediction and a target of different shapes."""
    refuse_reduction("mse_loss", reduction, (*REDUCTIONS, "batchmean"))
    refuse_different_shapes("mse_loss", "prediction", prediction, "target", target)


@mse_loss.backward
def mse_loss_backward(
    grad_output: torch.Tensor, output: torch.Tensor, prediction: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean"
) -> Pair:
    """dprediction = 2 g (prediction - target) / n, dtarget its negative; n as the reduction divides."""
    grad = grad_output * (2 * (prediction - target)) / divisor(prediction.shape, reduction)
    return grad, -grad


@op(real("*s"), real("*s"))
def l1_loss(prediction: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean") -> torch.Tensor:
    """|prediction - target|, then `reduction`.

    `prediction` and `target` have the same shape, any; `reduction` is "none" (the output has their shape), "sum" or "mean".
    Where they are equal the subgradient is 0, as in torch.
    Raises `InvalidArgument` for different shapes, which would broadcast or not fit at all.
    Source: Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", 2009, section 10.6.

    >>> l1_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 5.0]))
    tensor(1.5000)
    """
    return reduced((prediction - target).abs(), reduction)


@l1_loss.validator
def refuse_broadcast_of_l1(prediction: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean") -> None:
    """Raise `InvalidArgument` for a prediction and a target of different shapes."""
    refuse_reduction("l1_loss", reduction, REDUCTIONS)
    refuse_different_shapes("l1_loss", "prediction", prediction, "target", target)


@l1_loss.backward
def l1_loss_backward(
    grad_output: torch.Tensor, output: torch.Tensor, prediction: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean"
) -> Pair:
    """dprediction = g sign(prediction - target) / n, dtarget its negative; n as the reduction divides."""
    grad = grad_output / divisor(prediction.shape, reduction) * (prediction - target).sign()
    return grad, -grad


@op(real("*s"), real("*s"), choices={"reduction": ("mean", "sum", "none"), "delta": (1.0, 0.25)})
def huber_loss(prediction: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean", delta: float = 1.0) -> torch.Tensor:
    """r² / 2 where |r| <= δ, else δ (|r| - δ / 2), of the residual r = prediction - target; then `reduction`.

    `prediction` and `target` have the same shape, any; `reduction` is "none" (the output has their shape), "sum" or "mean".
    Raises `InvalidArgument` for different shapes, and for a `delta` that is not above zero.
    Source: Huber, "Robust estimation of a location parameter", 1964.

    >>> huber_loss(torch.tensor([0.5, 3.0]), torch.zeros(2), reduction="none")
    tensor([0.1250, 2.5000])
    """
    residual = prediction - target
    size = residual.abs()
    return reduced(torch.where(size <= delta, 0.5 * residual * residual, delta * (size - 0.5 * delta)), reduction)


@huber_loss.validator
def refuse_delta(prediction: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean", delta: float = 1.0) -> None:
    """Raise `InvalidArgument` for different shapes, and a delta at which every residual is an outlier."""
    refuse_reduction("huber_loss", reduction, REDUCTIONS)
    if not delta > 0:
        raise InvalidArgument(f"huber_loss: delta is {delta}; pass a number above 0")
    refuse_different_shapes("huber_loss", "prediction", prediction, "target", target)


@huber_loss.backward
def huber_loss_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    prediction: torch.Tensor,
    target: torch.Tensor,
    *,
    reduction: str = "mean",
    delta: float = 1.0,
) -> Pair:
    """dprediction = g min(max(prediction - target, -δ), δ) / n, dtarget its negative; n as the reduction divides."""
    grad = grad_output / divisor(prediction.shape, reduction) * (prediction - target).clamp(-delta, delta)
    return grad, -grad
