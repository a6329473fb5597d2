"""Softmax and its logarithm over one dimension."""

from __future__ import annotations

import torch

from gradcheck_lab.ops._axes import refuse_dims
from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

DIMS = (-1, 0, -2)


@op(real("*s"), choices={"dim": DIMS})
def softmax(x: torch.Tensor, *, dim: int = -1) -> torch.Tensor:
    """exp(x) / Σ exp(x) over `dim`, stable for any numbers.

    `x` and the output have any shape. A row that is -inf throughout, all of it masked, gives zeros, where torch gives NaN.
    Raises `InvalidArgument` for a dimension that `x` has not.
    Source: Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990.

    >>> softmax(torch.tensor([[1e4, 1e4], [-torch.inf, -torch.inf]]))
    tensor([[0.5000, 0.5000],
            [0.0000, 0.0000]])
    """
    masked = _wholly_masked(x, dim)
    if masked is None:
        return torch.softmax(x, dim)
    return torch.softmax(torch.maximum(x, _floor(masked, x)), dim) * ~masked


refuse_dims(softmax, several=False)


@softmax.backward
@rounded_once
def softmax_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dim: int = -1) -> tuple[torch.Tensor]:
    """dx = y (g - Σ g y) with y = softmax(x)."""
    return (output * (grad_output - (grad_output * output).sum(dim, keepdim=True)),)


@op(real("*s"), choices={"dim": DIMS})
def log_softmax(x: torch.Tensor, *, dim: int = -1) -> torch.Tensor:
    """x - log Σ exp(x) over `dim`, stable for any numbers.

    `x` and the output have any shape. A row that is -inf throughout stays so, where torch gives NaN, and gets no gradient.
    Raises `InvalidArgument` for a dimension that `x` has not.
    Source: Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 6.2.2.3.

    >>> log_softmax(torch.tensor([0.0, 1e4]))
    tensor([-10000.,      0.])
    """
    masked = _wholly_masked(x, dim)
    if masked is None:
        return torch.log_softmax(x, dim)
    floor = _floor(masked, x)
    return torch.log_softmax(torch.maximum(x, floor), dim) + torch.where(masked, -torch.inf, torch.zeros_like(floor))


refuse_dims(log_softmax, several=False)


@log_softmax.backward
@rounded_once
def log_softmax_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dim: int = -1
) -> tuple[torch.Tensor]:
    """dx = g - exp(y) Σ g with y = log_softmax(x), 0 in rows that are -inf throughout."""
    grad = grad_output - output.exp() * grad_output.sum(dim, keepdim=True)
    masked = _wholly_masked(output, dim)
    return (grad if masked is None else grad * ~masked,)


def _wholly_masked(x: torch.Tensor, dim: int) -> torch.Tensor | None:
    """Which rows are -inf throughout; None where none is, which spares two passes over x."""
    if not x.numel():
        return None
    masked = x.amax(dim, keepdim=True) == -torch.inf
    return masked if bool(masked.any()) else None


def _floor(masked: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """What a row is raised to: nothing, or 0 where its exponentials would not sum to a positive number."""
    return torch.where(masked, 0.0, -torch.inf).to(x.dtype)
