"""A classifier as in NumPy teaching code: a column of ones instead of a bias, and softmax and logarithm as separate steps."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.networks.mnist import Images
from gradcheck_lab.ops import log, matmul, mean, mul, neg, relu, softmax, sum

Operand = Any
HIDDEN = 50
EPOCHS = 50
RATE = 0.5


def numpy_classifier(x: Operand, label: Operand, W1: Operand, W2: Operand) -> Operand:
    """-mean(Σ label · log softmax(relu(x W1) W2)), a tensor of no dimensions.

    `x` (n, d_in + 1) with a last column of ones, `label` (n, d_out) one-hot, `W1` (d_in + 1, hidden), `W2` (hidden, d_out);
    tensors or Variables.
    """
    Z1 = matmul(x, W1)
    A1 = relu(Z1)
    Z2 = matmul(A1, W2)
    p = softmax(Z2)
    log_p = log(p)
    chosen = mul(label, log_p)
    per_image = sum(chosen, dim=1)
    average = mean(per_image)
    loss = neg(average)
    return loss


def with_ones(pixels: torch.Tensor) -> torch.Tensor:
    """`pixels` (n, d) and a column of ones, (n, d + 1).

    >>> with_ones(torch.zeros(1, 2)).tolist()
    [[0.0, 0.0, 1.0]]
    """
    return torch.cat([pixels, pixels.new_ones(len(pixels), 1)], dim=1)


def one_hot(digits: torch.Tensor) -> torch.Tensor:
    """Class indices (n,) as rows (n, 10) of float64."""
    return torch.nn.functional.one_hot(digits, 10).double()


def initial_weights(pixels: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`W1` (pixels + 1, hidden) and `W2` (hidden, 10), normal with variance 2 / rows and 1 / rows."""
    generator = torch.Generator().manual_seed(seed)
    W1 = torch.randn(pixels + 1, HIDDEN, generator=generator, dtype=torch.float64) * (2 / (pixels + 1)) ** 0.5
    W2 = torch.randn(HIDDEN, 10, generator=generator, dtype=torch.float64) * (1 / HIDDEN) ** 0.5
    return W1, W2


def scores_on_test(images: Images, W1: torch.Tensor, W2: torch.Tensor) -> tuple[float, float]:
    """The loss on the test images, and the share of them whose digit is recognised."""
    x = with_ones(images.test_pixels)
    loss = float(numpy_classifier(x, one_hot(images.test_digits), W1, W2))
    predicted = matmul(relu(matmul(x, W1)), W2).argmax(1)
    return loss, float((predicted == images.test_digits).double().mean())
