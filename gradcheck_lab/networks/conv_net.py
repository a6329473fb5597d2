"""A small convolutional network for the images of the digits."""

from __future__ import annotations

from typing import Any

import torch

from gradcheck_lab.networks.data import load
from gradcheck_lab.ops import conv2d, linear, max_pool2d, relu, reshape, softmax_cross_entropy

Operand = Any
SIDE, CHANNELS, CLASSES = 8, (4, 6), 10
ROWS = 24


def conv_net(
    x: Operand, target: Operand, W1: Operand, b1: Operand, W2: Operand, b2: Operand, W3: Operand, b3: Operand
) -> Operand:
    """Softmax cross-entropy of convolution - relu - max pooling, twice, then linear; averaged over the batch.

    `x` (n, 1, 8, 8), `target` class labels (n,), `W1` (c1, 1, 3, 3), `b1` (c1,), `W2` (c2, c1, 3, 3), `b2` (c2,),
    `W3` (classes, 4 c2), `b3` (classes,); tensors or Variables. The loss has no dimensions.
    Source: LeCun et al., "Gradient-based learning applied to document recognition", 1998.
    """
    Z1 = conv2d(x, W1, b1, padding=1)
    A1 = relu(Z1)
    P1 = max_pool2d(A1, kernel_size=2)
    Z2 = conv2d(P1, W2, b2, padding=1)
    A2 = relu(Z2)
    P2 = max_pool2d(A2, kernel_size=2)
    flat = reshape(P2, shape=(P2.shape[0], -1))
    Z3 = linear(flat, W3, b3)
    loss = softmax_cross_entropy(Z3, target)
    return loss


def conv_call(seed: int) -> tuple[torch.Tensor, ...]:
    """A few images of the digits, their labels, and random parameters, float64."""
    digits = load(seed)
    generator = torch.Generator().manual_seed(seed)
    first, second = CHANNELS

    def drawn(*shape: int) -> torch.Tensor:
        fan_in = max(1, torch.Size(shape[1:]).numel())
        value: torch.Tensor = torch.randn(shape, generator=generator, dtype=torch.float64) * (2 / fan_in) ** 0.5
        return value

    return (
        digits.train_x[:ROWS].reshape(-1, 1, SIDE, SIDE),
        digits.train_digits[:ROWS],
        drawn(first, 1, 3, 3),
        0.1 * drawn(first),
        drawn(second, first, 3, 3),
        0.1 * drawn(second),
        drawn(CLASSES, second * (SIDE // 4) ** 2),
        0.1 * drawn(CLASSES),
    )
