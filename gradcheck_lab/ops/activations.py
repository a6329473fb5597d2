"""Activations, elementwise."""

from __future__ import annotations

import torch

from gradcheck_lab.op import op
from gradcheck_lab.specs import real


@op(real("*s"))
def relu(x: torch.Tensor) -> torch.Tensor:
    """max(x, 0), elementwise.

    `x` and the output have any shape. At x = 0 the subgradient is 0, as in torch.
    Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010.

    >>> relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return x.clamp(min=0)


@relu.backward
def relu_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor]:
    """dx = g where x > 0, else 0."""
    return (torch.where(x > 0, grad_output, 0),)
