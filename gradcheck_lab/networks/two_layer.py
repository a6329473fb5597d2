"""A net of two layers with sigmoid or relu, and its gradients three ways: by hand, by autograd and by central differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_lab.networks.lockstep import (
    Parameters,
    Program,
    autograd_gradients,
    hand_written_gradients,
    parameter_names,
    relative_difference,
)
from gradcheck_lab.ops import linear, relu, sigmoid, softmax_cross_entropy

Operand = Any
STEP = 1e-5


def sigmoid_net(x: Operand, target: Operand, W1: Operand, b1: Operand, W2: Operand, b2: Operand) -> Operand:
    """Softmax cross-entropy of linear - sigmoid - linear, averaged over the batch; a tensor of no dimensions.

    `x` (n, d_in), `target` class labels (n,) or weights (n, d_out), `W1` (hidden, d_in), `b1` (hidden,),
    `W2` (d_out, hidden), `b2` (d_out,); tensors or Variables.
    Source: Saitoh, "Deep Learning from Scratch", 2016, section 4.5.
    """
    Z1 = linear(x, W1, b1)
    A1 = sigmoid(Z1)
    Z2 = linear(A1, W2, b2)
    loss = softmax_cross_entropy(Z2, target)
    return loss


def relu_net(x: Operand, target: Operand, W1: Operand, b1: Operand, W2: Operand, b2: Operand) -> Operand:
    """The same with relu instead of sigmoid.

    Source: Saitoh, "Deep Learning from Scratch", 2016, section 5.7.
    """
    Z1 = linear(x, W1, b1)
    A1 = relu(Z1)
    Z2 = linear(A1, W2, b2)
    loss = softmax_cross_entropy(Z2, target)
    return loss


@dataclass(frozen=True, slots=True)
class ThreeWays:
    """One parameter: its largest gradient element by each method, and how far the hand-written one is from the others."""

    name: str
    index: tuple[int, ...]
    hand_written: float
    autograd: float
    central: float
    from_autograd: float
    from_central: float


def three_ways(
    network: Program, x: torch.Tensor, target: torch.Tensor, parameters: Parameters, *, step: float = STEP
) -> tuple[ThreeWays, ...]:
    """Take the gradient of every parameter by hand, by autograd and by central differences of width `step`.

    `x` (n, d_in), `target` (n, ...), `parameters` in float64. The differences are the largest element of |a - b| over the
    largest |b|. Costs two forwards for each number in the parameters.

    >>> x, target = torch.ones(2, 3).double(), torch.tensor([0, 1])
    >>> weights = (torch.zeros(2, 3), torch.zeros(2), torch.eye(2), torch.zeros(2))
    >>> [row.name for row in three_ways(sigmoid_net, x, target, tuple(w.double() for w in weights))]
    ['W1', 'b1', 'W2', 'b2']
    """
    by_hand = hand_written_gradients(network, x, target, parameters).parameters
    by_autograd = autograd_gradients(network, x, target, parameters).parameters
    rows = []
    for k, name in enumerate(parameter_names(network, len(parameters))):
        central = central_differences(network, x, target, parameters, k, step)
        at = int(by_hand[k].abs().argmax())
        index = tuple(int(i) for i in torch.unravel_index(torch.tensor(at), by_hand[k].shape))
        values = [float(grads[index]) for grads in (by_hand[k], by_autograd[k], central)]
        differences = [relative_difference(by_hand[k], grads) for grads in (by_autograd[k], central)]
        rows.append(ThreeWays(name, index, *values, *differences))
    return tuple(rows)


def central_differences(
    network: Program, x: torch.Tensor, target: torch.Tensor, parameters: Parameters, index: int, step: float
) -> torch.Tensor:
    """(f(w + h) - f(w - h)) / 2h in every element of one parameter."""
    grad = torch.zeros_like(parameters[index])
    for element in range(grad.numel()):
        ends = []
        for sign in (step, -step):
            moved = parameters[index].clone()
            moved.view(-1)[element] += sign
            ends.append(float(network(x, target, *parameters[:index], moved, *parameters[index + 1 :])))
        grad.view(-1)[element] = (ends[0] - ends[1]) / (2 * step)
    return grad


def table_lines(rows: Sequence[ThreeWays]) -> list[str]:
    """The three gradients side by side, a line for each parameter.

    >>> table_lines([ThreeWays("W", (0, 1), 0.25, 0.25, 0.2500001, 0.0, 4e-7)])[-1]
    'W[0, 1]            0.2500000000   0.2500000000   0.2500001000   0.0e+00   4.0e-07'
    """
    lines = [
        "the largest element of every gradient, and the largest relative difference of all its elements",
        f"{'parameter':<16} {'by hand':>14} {'autograd':>14} {'differences':>14}   autograd   differences",
    ]
    for row in rows:
        where = f"{row.name}[{', '.join(map(str, row.index))}]"
        values = " ".join(f"{value:>14.10f}" for value in (row.hand_written, row.autograd, row.central))
        lines.append(f"{where:<16} {values}   {row.from_autograd:.1e}   {row.from_central:.1e}")
    return lines
