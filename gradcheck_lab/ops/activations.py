"""Activations with a kink or a bound: linear pieces, and the exponential one that continues a line."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grad = tuple[torch.Tensor]


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
def relu_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor) -> Grad:
    """dx = g where x > 0, else 0."""
    return (torch.where(x > 0, grad_output, 0),)


@op(real("*s"), choices={"negative_slope": (0.01, 0.2, 0.0, -0.5)})
def leaky_relu(x: torch.Tensor, *, negative_slope: float = 0.01) -> torch.Tensor:
    """x where x > 0, else negative_slope x, elementwise.

    `x` and the output have any shape. At x = 0 the subgradient is negative_slope, as in torch.
    Source: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.

    >>> leaky_relu(torch.tensor([-1.0, 2.0]), negative_slope=0.5)
    tensor([-0.5000,  2.0000])
    """
    return F.leaky_relu(x, negative_slope)


@leaky_relu.backward
@rounded_once
def leaky_relu_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, negative_slope: float = 0.01
) -> Grad:
    """dx = g where x > 0, else negative_slope g."""
    return (grad_output * F.threshold(x.sign(), 0, negative_slope),)


@op(real("*s"), choices={"alpha": (1.0, 0.5, 2.0)})
def elu(x: torch.Tensor, *, alpha: float = 1.0) -> torch.Tensor:
    """x where x > 0, else alpha (eˣ - 1), elementwise.

    `x` and the output have any shape. At x = 0 the subgradient is alpha, as in torch.
    Source: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential linear units", 2016.

    >>> elu(torch.tensor([-100.0, 2.0]))
    tensor([-1.,  2.])
    """
    return F.elu(x, alpha)


@elu.backward
@rounded_once
def elu_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, alpha: float = 1.0) -> Grad:
    """dx = g where x > 0, else alpha eˣ g."""
    return (grad_output * (F.threshold(x.sign(), 0, alpha) * torch.exp(-F.relu(-x))),)


@op(real("*s"), choices={"min_val": (-1.0, 0.0, -0.5), "max_val": (1.0, 6.0, 0.5)})
def hardtanh(x: torch.Tensor, *, min_val: float = -1.0, max_val: float = 1.0) -> torch.Tensor:
    """x, clamped to [min_val, max_val], elementwise; with 0 and 6 it is ReLU6.

    `x` and the output have any shape. At either bound the subgradient is 0, as in torch.
    Raises `InvalidArgument` where min_val is not below max_val.
    Source: Collobert, "Large scale machine learning", 2004.

    >>> hardtanh(torch.tensor([-3.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """
    return F.hardtanh(x, min_val, max_val)


@hardtanh.validator
def refuse_empty_range(x: torch.Tensor, *, min_val: float = -1.0, max_val: float = 1.0) -> None:
    """Raise `InvalidArgument` where there is nothing between the bounds."""
    if min_val >= max_val:
        raise InvalidArgument(f"hardtanh: min_val is {min_val} and max_val is {max_val}; pass min_val < max_val")


@hardtanh.backward
def hardtanh_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, min_val: float = -1.0, max_val: float = 1.0
) -> Grad:
    """dx = g where min_val < x < max_val, else 0."""
    return (torch.where((x > min_val) & (x < max_val), grad_output, 0),)


@op(real("*s"), choices={"min": (None, -1.0, 0.0), "max": (1.0, 0.5, None)})
def clamp(x: torch.Tensor, *, min: float | None = None, max: float | None = None) -> torch.Tensor:
    """x, clamped to [min, max], elementwise; None is no bound.

    `x` and the output have any shape. At either bound the subgradient is 1, as in torch.
    Raises `InvalidArgument` where min is above max.

    >>> clamp(torch.tensor([-3.0, 0.5, 3.0]), max=1.0)
    tensor([-3.0000,  0.5000,  1.0000])
    """
    return x.clone() if min is None and max is None else x.clamp(min, max)


@clamp.validator
def refuse_crossed_bounds(x: torch.Tensor, *, min: float | None = None, max: float | None = None) -> None:
    """Raise `InvalidArgument` for bounds that no number lies between."""
    if min is not None and max is not None and min > max:
        raise InvalidArgument(f"clamp: min is {min} and max is {max}; pass min <= max")


@clamp.backward
def clamp_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    *,
    min: float | None = None,
    max: float | None = None,
) -> Grad:
    """dx = g where min <= x <= max, else 0."""
    outside = torch.zeros_like(x, dtype=torch.bool)
    if min is not None:
        outside = outside | (x < min)
    if max is not None:
        outside = outside | (x > max)
    return (grad_output.masked_fill(outside, 0),)
