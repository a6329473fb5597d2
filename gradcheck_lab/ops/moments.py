"""Variances and standard deviations over any dimensions."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._axes import CHOICES, Dims, axes_of, count, refuse_dims, restored
from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.rules.op import Op, op
from gradcheck_lab.specs import real

Grad = tuple[torch.Tensor]


@op(real("*b n"), choices={**CHOICES, "correction": (0, 1)})
def var(x: torch.Tensor, *, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> torch.Tensor:
    """The variance over dimension `dim`, several, or all for None: squares are divided by n - correction.

    `x` has any shape; the output lacks the reduced dimensions, or has them with size 1 where `keepdim`.
    Raises `InvalidArgument` for dimensions that there are not, or where n - correction is not above 0.
    Source: Bishop, "Pattern Recognition and Machine Learning", 2006, section 1.2.4.

    >>> var(torch.tensor([1.0, 3.0]))
    tensor(2.)
    """
    if not x.numel():  # of no rows, of which torch says that they have no degrees of freedom
        return x.sum(axes_of(dim, x.ndim), keepdim=keepdim)
    return x.var(axes_of(dim, x.ndim), correction=correction, keepdim=keepdim)


@var.backward
@rounded_once
def var_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    *,
    dim: Dims = None,
    correction: int = 1,
    keepdim: bool = False,
) -> Grad:
    """dx = 2 g (x - mean) / (n - correction); the mean itself sends nothing back."""
    g = restored(grad_output, dim, x.ndim, keepdim) * (2 / (count(x, dim) - correction))
    return (g * (x - x.mean(axes_of(dim, x.ndim), keepdim=True)),)


@op(real("*b n"), choices={**CHOICES, "correction": (0, 1)})
def std(x: torch.Tensor, *, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> torch.Tensor:
    """The square root of the variance over dimension `dim`, several, or all for None.

    `x` has any shape; the output lacks the reduced dimensions, or has them with size 1 where `keepdim`. Where all
    elements are equal the subgradient is 0, as in torch.
    Raises `InvalidArgument` for dimensions that there are not, or where n - correction is not above 0.
    Source: Bishop, "Pattern Recognition and Machine Learning", 2006, section 1.2.4.

    >>> std(torch.tensor([1.0, 5.0]), correction=0)
    tensor(2.)
    """
    if not x.numel():  # of no rows, of which torch says that they have no degrees of freedom
        return x.sum(axes_of(dim, x.ndim), keepdim=keepdim)
    return x.std(axes_of(dim, x.ndim), correction=correction, keepdim=keepdim)


@std.backward
@rounded_once
def std_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    *,
    dim: Dims = None,
    correction: int = 1,
    keepdim: bool = False,
) -> Grad:
    """dx = g (x - mean) / ((n - correction) y) with y the deviation, 0 where y = 0."""
    flat = output == 0
    g = (grad_output / torch.where(flat, 1, output)).masked_fill(flat, 0) / (count(x, dim) - correction)
    centred = x - x.mean(axes_of(dim, x.ndim), keepdim=True)
    return (restored(g, dim, x.ndim, keepdim) * centred,)


def refuse_no_freedom(target: Op) -> None:
    """Let an op refuse to divide by n - correction where that is not above 0."""

    def check(x: torch.Tensor, *, dim: Dims = None, correction: int = 1, keepdim: bool = False) -> None:
        if isinstance(x, torch.Tensor) and count(x, dim) <= correction:
            raise InvalidArgument(
                f"{target.name}: shape {tuple(x.shape)} has {count(x, dim)} elements along dim {dim} and correction is "
                f"{correction}, so squares would be divided by {count(x, dim) - correction}; pass correction=0 or more elements"
            )

    target.validator(check)


for _op in (var, std):
    refuse_dims(_op)
    refuse_no_freedom(_op)
    _op.accepts(real(""))
