"""Products of all factors, or along one dimension."""

from __future__ import annotations

import torch

from gradcheck_lab.ops._axes import refuse_dims, restored
from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grad = tuple[torch.Tensor]


@op(real("*b n"), choices={"dim": (None, -1, 0), "keepdim": (False, True)})
def prod(x: torch.Tensor, *, dim: int | None = None, keepdim: bool = False) -> torch.Tensor:
    """The product over dimension `dim`, or of all elements for None.

    `x` has any shape; the output lacks the reduced dimension, or has it with size 1 where `keepdim`. Where one factor is 0
    it alone has a gradient, where two are none has.
    Raises `InvalidArgument` for a dimension that there is not, or for several.

    >>> prod(torch.tensor([2.0, 3.0, 4.0]))
    tensor(24.)
    """
    if dim is not None:
        return x.prod(dim, keepdim=keepdim)
    whole = x.prod()
    return whole.reshape([1] * x.ndim) if keepdim else whole


@prod.backward
@rounded_once
def prod_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dim: int | None = None, keepdim: bool = False
) -> Grad:
    """dx_i = g Π_{j≠i} x_j = g y / x_i; where y is 0, those before it times those after it, which divides by no zero."""
    g = restored(grad_output, dim, x.ndim, keepdim)
    size = output.detach().abs()
    normal = bool(((size >= torch.finfo(x.dtype).tiny) & torch.isfinite(size)).all())
    if normal and not (torch.is_grad_enabled() and x.requires_grad):  # differentiated, the quotient cancels
        return (g * (restored(output, dim, x.ndim, keepdim) / x).conj(),)
    factors, axis = (x.reshape(-1), 0) if dim is None or x.ndim == 0 else (x, dim)
    others = _products_before(factors, axis) * _products_before(factors.flip(axis), axis).flip(axis)
    return (g * others.reshape(x.shape).conj(),)


def _products_before(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Of every element the product of those before it; 1 for the first."""
    ones = torch.ones_like(x.narrow(dim, 0, min(1, x.shape[dim])))
    return torch.cat([ones, x.narrow(dim, 0, max(0, x.shape[dim] - 1))], dim).cumprod(dim)


refuse_dims(prod, several=False)
prod.accepts(real(""))
