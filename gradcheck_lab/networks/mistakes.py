"""Three typical mistakes in reference networks, which the demo finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.networks.digits import Operand
from gradcheck_lab.ops import linear, relu, softmax_cross_entropy
from gradcheck_lab.report import Report
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import labels, real

Three = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A network with one wrong op: the mistake, the data, and the op and causes that a report has to name."""

    title: str
    story: str
    network: Callable[..., Any]
    task: str
    op: str
    gradient: str
    causes: frozenset[str]


@op(real("n 1"), real("n"))
def squared_error_of_vector(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The notebook form of a mean squared error: (N, 1) minus (N,) is (N, N), silently."""
    return ((prediction - target) ** 2).mean()


@squared_error_of_vector.backward
def squared_error_of_vector_backward(
    grad_output: torch.Tensor, output: torch.Tensor, prediction: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """dprediction = 2 g (prediction - target) / N, as for two columns."""
    grad = grad_output * 2 * (prediction - target.reshape(-1, 1)) / len(prediction)
    return grad, -grad.reshape(-1)


@op(real("n c"), labels("n", classes="c"))
def cross_entropy_without_mean(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The mean softmax cross-entropy."""
    return torch.as_tensor(softmax_cross_entropy.forward(logits, target))


@cross_entropy_without_mean.backward
def cross_entropy_without_mean_backward(
    grad_output: torch.Tensor, output: torch.Tensor, logits: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, None]:
    """dlogits = g (softmax(logits) - one_hot(target)), the 1/N of the mean forgotten."""
    one_hot = torch.nn.functional.one_hot(target, logits.shape[-1])
    return grad_output * (torch.softmax(logits, -1) - one_hot), None


@op(real("n d_in"), real("d_out d_in"), real("d_out"))
def linear_with_mean_bias(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """x Wᵀ + b."""
    return x @ weight.T + bias


@linear_with_mean_bias.backward
def linear_with_mean_bias_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> Three:
    """dx = g W,  dW = gᵀ x,  db = the mean of g over the batch, in place of its sum."""
    return grad_output @ weight, grad_output.T @ x, grad_output.mean(0)


def regressor_with_vector_target(x: Operand, target: Operand, W1: Operand, b1: Operand, W2: Operand, b2: Operand) -> Operand:
    """The regressor with a target of shape (n,) beside its prediction of shape (n, 1)."""
    Z1 = linear(x, W1, b1)
    A1 = relu(Z1)
    Z2 = linear(A1, W2, b2)
    loss = squared_error_of_vector(Z2, target)
    return loss


def classifier_without_mean(x: Operand, target: Operand, W1: Operand, b1: Operand, W2: Operand, b2: Operand) -> Operand:
    """The classifier whose loss is averaged forward and not backward."""
    Z1 = linear(x, W1, b1)
    A1 = relu(Z1)
    Z2 = linear(A1, W2, b2)
    loss = cross_entropy_without_mean(Z2, target)
    return loss


def classifier_with_mean_bias(x: Operand, target: Operand, W1: Operand, b1: Operand, W2: Operand, b2: Operand) -> Operand:
    """The classifier whose first bias gets the mean of its gradients."""
    Z1 = linear_with_mean_bias(x, W1, b1)
    A1 = relu(Z1)
    Z2 = linear(A1, W2, b2)
    loss = softmax_cross_entropy(Z2, target)
    return loss


MISTAKES = (
    Mistake(
        "rank-1 target",
        "(prediction - target) ** 2 of (N, 1) and (N,), whose backward was written for (N, 1)",
        regressor_with_vector_target,
        "vector regression",
        "squared_error_of_vector (loss)",
        "prediction",
        frozenset({"missing-broadcast-sum"}),
    ),
    Mistake(
        "forgotten 1/N",
        "the loss is a mean over the batch and its backward does not divide",
        classifier_without_mean,
        "classification",
        "cross_entropy_without_mean (loss)",
        "logits",
        frozenset({"constant-factor"}),
    ),
    Mistake(
        "wrong bias reduction",
        "the gradient of the bias is averaged over the batch, not summed",
        classifier_with_mean_bias,
        "classification",
        "linear_with_mean_bias (Z1)",
        "bias",
        frozenset({"constant-factor"}),
    ),
)


def is_caught(mistake: Mistake, report: Report) -> bool:
    """Whether the report fails, and its first finding names the wrong op's gradient and an expected cause."""
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if report.verdict != "fail" or not errors:
        return False
    first = errors[0]
    return (first.op, first.gradient) == (mistake.op, mistake.gradient) and first.cause in mistake.causes
