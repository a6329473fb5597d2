"""Mistakes in the backwards of the losses."""

from collections.abc import Callable
from typing import Any

import torch

from gradcheck_lab.ops import mse_loss, softmax_cross_entropy
from gradcheck_lab.rules.op import Op
from tests.mistakes import Planted, Rule, changed, scaled

Tensor = torch.Tensor


def rows_of(logits: Tensor, *others: Tensor) -> int:
    return logits.shape[:-1].numel()


def elements_of(prediction: Tensor, *others: Tensor) -> int:
    return prediction.numel()


def without_mean(loss: Op, *indices: int, count: Callable[..., int]) -> Rule:
    """The loss's rule with the gradients at `indices` multiplied by what the mean divides by."""

    def rule(grad_output: Tensor, output: Tensor, *inputs: Tensor, **options: Any) -> tuple[Any, ...]:
        grads = loss.backward(grad_output, output, *inputs, **options)
        return tuple(grad * count(*inputs) if k in indices else grad for k, grad in enumerate(grads))

    return rule


def ignores_sum_of_target(
    grad_output: Tensor, output: Tensor, logits: Tensor, target: Tensor, reduction: str = "mean"
) -> tuple[Tensor, Tensor]:
    _, dtarget = softmax_cross_entropy.backward(grad_output, output, logits, target, reduction=reduction)
    divisor = rows_of(logits) if reduction == "mean" else 1
    g = (grad_output / divisor).expand(logits.shape[:-1]).unsqueeze(-1)
    return g * (torch.softmax(logits, -1) - target), dtarget


def without_softmax(
    grad_output: Tensor, output: Tensor, logits: Tensor, target: Tensor, reduction: str = "mean"
) -> tuple[Tensor, None]:
    one_hot = torch.nn.functional.one_hot(target, logits.shape[-1])
    return grad_output / rows_of(logits) * (logits - one_hot), None


def over_wrong_axis(
    grad_output: Tensor, output: Tensor, logits: Tensor, target: Tensor, reduction: str = "mean"
) -> tuple[Tensor, None]:
    one_hot = torch.nn.functional.one_hot(target, logits.shape[-1])
    return grad_output / rows_of(logits) * (torch.softmax(logits, 0) - one_hot), None


def swapped(grad_output: Tensor, output: Tensor, prediction: Tensor, target: Tensor, reduction: str = "mean") -> Any:
    grads = mse_loss.backward(grad_output, output, prediction, target, reduction=reduction)
    return grads[1], grads[0]


MISTAKES = (
    Planted("wrong-sign", softmax_cross_entropy, scaled(softmax_cross_entropy, 0, lambda *i: -1), {"logits": "sign"}),
    Planted("forgotten-mean", softmax_cross_entropy, scaled(softmax_cross_entropy, 0, rows_of), {"logits": "constant-factor"}),
    Planted(
        "mean-of-sum",
        softmax_cross_entropy,
        scaled(softmax_cross_entropy, 0, lambda *inputs: 1 / rows_of(*inputs)),
        {"logits": "constant-factor"},
        options={"reduction": "sum"},
    ),
    Planted("without-softmax", softmax_cross_entropy, without_softmax, {"logits": "wrong-operand"}),
    Planted("over-wrong-axis", softmax_cross_entropy, over_wrong_axis, {"logits": "wrong-value"}),
    Planted(
        "zero-logits", softmax_cross_entropy, changed(softmax_cross_entropy, 0, torch.zeros_like), {"logits": "zero-gradient"}
    ),
    Planted(
        "wrong-sign-of-target",
        softmax_cross_entropy,
        scaled(softmax_cross_entropy, 1, lambda *inputs: -1),
        {"target": "sign"},
        signature=1,
    ),
    Planted(
        "no-gradient-of-weights",
        softmax_cross_entropy,
        changed(softmax_cross_entropy, 1, lambda grad: None),
        {"target": "missing-gradient"},
        signature=1,
    ),
    Planted("wrong-sign", mse_loss, scaled(mse_loss, 0, lambda *inputs: -1), {"prediction": "sign"}),
    Planted("target-with-sign-of-prediction", mse_loss, scaled(mse_loss, 1, lambda *inputs: -1), {"target": "sign"}),
    Planted(
        "forgotten-mean",
        mse_loss,
        without_mean(mse_loss, 0, 1, count=elements_of),
        {"prediction": "constant-factor", "target": "constant-factor"},
    ),
    Planted(
        "forgotten-batchmean",
        mse_loss,
        without_mean(mse_loss, 0, 1, count=rows_of),
        {"prediction": "constant-factor", "target": "constant-factor"},
        options={"reduction": "batchmean"},
    ),
    Planted("forgotten-2", mse_loss, scaled(mse_loss, 0, lambda *inputs: 0.5), {"prediction": "constant-factor"}),
    Planted("swapped", mse_loss, swapped, {"prediction": "sign", "target": "sign"}),
    Planted("no-target", mse_loss, changed(mse_loss, 1, lambda grad: None), {"target": "missing-gradient"}),
)

NOT_SUMMING_TO_ONE = Planted(
    "ignores-sum-of-target", softmax_cross_entropy, ignores_sum_of_target, {"logits": "wrong-value"}, signature=1
)
