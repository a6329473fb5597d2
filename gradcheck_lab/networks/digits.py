"""Two networks of one hidden layer for the digits data: a 64-32-10 classifier and a 64-30-1 regressor.

Weights are (d_out, d_in), as torch has them; any other sizes work too.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops import linear, mse_loss, relu, softmax_cross_entropy

PARAMETERS = ("W1", "b1", "W2", "b2")

Operand = Any


def digits_classifier(x: Operand, target: Operand, W1: Operand, b1: Operand, W2: Operand, b2: Operand) -> Operand:
    """Softmax cross-entropy of linear - relu - linear, averaged over the batch; a tensor of no dimensions.

    `x` (n, d_in), `target` class labels (n,) or weights (n, d_out), `W1` (hidden, d_in), `b1` (hidden,),
    `W2` (d_out, hidden), `b2` (d_out,); tensors or Variables.

    >>> x, target = torch.zeros(3, 64), torch.tensor([0, 1, 2])
    >>> parameters = initial_parameters(64, 32, 10, generator=torch.Generator().manual_seed(0))
    >>> digits_classifier(x.double(), target, *parameters)
    tensor(2.3026, dtype=torch.float64)
    """
    Z1 = linear(x, W1, b1)
    A1 = relu(Z1)
    Z2 = linear(A1, W2, b2)
    loss = softmax_cross_entropy(Z2, target)
    return loss


def digits_regressor(x: Operand, target: Operand, W1: Operand, b1: Operand, W2: Operand, b2: Operand) -> Operand:
    """Squared error of linear - relu - linear, summed over outputs, averaged over the batch; of no dimensions.

    `x` (n, d_in), `target` (n, d_out), `W1` (hidden, d_in), `b1` (hidden,), `W2` (d_out, hidden),
    `b2` (d_out,); tensors or Variables.

    >>> x, target = torch.zeros(3, 64).double(), torch.full((3, 1), 2.0).double()
    >>> parameters = initial_parameters(64, 30, 1, generator=torch.Generator().manual_seed(0))
    >>> digits_regressor(x, target, *parameters)
    tensor(4., dtype=torch.float64)
    """
    Z1 = linear(x, W1, b1)
    A1 = relu(Z1)
    Z2 = linear(A1, W2, b2)
    loss = mse_loss(Z2, target, reduction="batchmean")
    return loss


def digits_scores(x: Operand, W1: Operand, b1: Operand, W2: Operand, b2: Operand) -> Operand:
    """What either network predicts before its loss: logits or regressed values, (n, d_out)."""
    return linear(relu(linear(x, W1, b1)), W2, b2)


def initial_parameters(*sizes: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    """Draw a weight (d_out, d_in) and a bias (d_out,) for each pair of neighbouring `sizes`: W1, b1, W2, ...

    Weights are normal with variance 2 / d_in, biases zero. Raises `InvalidArgument` for fewer than two sizes.
    Source: He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015.

    >>> [tuple(p.shape) for p in initial_parameters(64, 32, 10, generator=torch.Generator().manual_seed(0))]
    [(32, 64), (32,), (10, 32), (10,)]
    """
    if len(sizes) < 2:
        raise InvalidArgument(f"a network needs at least two sizes and got {sizes}; pass its widths, such as 64, 32, 10")
    parameters: list[torch.Tensor] = []
    for d_in, d_out in itertools.pairwise(sizes):
        deviation = (2 / max(1, d_in)) ** 0.5
        weight = torch.randn(d_out, d_in, generator=generator, dtype=torch.float64) * deviation
        parameters += [weight.to(dtype), torch.zeros(d_out, dtype=dtype)]
    return tuple(parameters)
