"""Sums, means, variances and running sums over any dimensions."""

from __future__ import annotations

import torch

from gradcheck_lab.ops._axes import CHOICES, Dims, axes_of, count, refuse_dims, restored
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grad = tuple[torch.Tensor]


@op(real("*b n"), choices=CHOICES)
def sum(x: torch.Tensor, *, dim: Dims = None, keepdim: bool = False) -> torch.Tensor:
    """The sum over dimension `dim`, several, or all for None.

    `x` has any shape; the output lacks the reduced dimensions, or has them with size 1 where `keepdim`.
    Raises `InvalidArgument` for dimensions that there are not, or that are named twice.

    >>> sum(torch.ones(2, 3), dim=0).tolist()
    [2.0, 2.0, 2.0]
    """
    return x.sum(axes_of(dim, x.ndim), keepdim=keepdim)


@sum.backward
def sum_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dim: Dims = None, keepdim: bool = False
) -> Grad:
    """dx = g, the same for every element that was summed."""
    return (restored(grad_output, dim, x.ndim, keepdim).expand(x.shape),)


@op(real("*b n"), choices=CHOICES)
def mean(x: torch.Tensor, *, dim: Dims = None, keepdim: bool = False) -> torch.Tensor:
    """The mean over dimension `dim`, several, or all for None.

    `x` has any shape; the output lacks the reduced dimensions, or has them with size 1 where `keepdim`. The mean of no
    elements is NaN.
    Raises `InvalidArgument` for dimensions that there are not, or that are named twice.

    >>> mean(torch.tensor([[1.0, 3.0]]), dim=1).tolist()
    [2.0]
    """
    return x.mean(axes_of(dim, x.ndim), keepdim=keepdim)


@mean.backward
def mean_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dim: Dims = None, keepdim: bool = False
) -> Grad:
    """dx = g / n, n the number of elements that were averaged."""
    return (restored(grad_output / count(x, dim), dim, x.ndim, keepdim).expand(x.shape),)


@op(real("*b n"), choices={"dim": (-1, 0, 1)})
def cumsum(x: torch.Tensor, *, dim: int = -1) -> torch.Tensor:
    """The running sum along dimension `dim`.

    `x` has any shape; the output has the same.
    Raises `InvalidArgument` for a dimension that there is not.

    >>> cumsum(torch.ones(3)).tolist()
    [1.0, 2.0, 3.0]
    """
    return x.cumsum(dim)


@cumsum.backward
def cumsum_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dim: int = -1) -> Grad:
    """dx_i = Σ_{j≥i} g_j, the running sum from the other end."""
    if x.ndim == 0:
        return (grad_output,)
    return (grad_output.flip(dim).cumsum(dim).flip(dim),)


refuse_dims(sum)
refuse_dims(mean)
refuse_dims(cumsum, several=False)
for _op in (sum, mean, cumsum):
    _op.accepts(real(""))
