"""Norms over any dimensions."""

from __future__ import annotations

import math

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._axes import CHOICES, Dims, axes_of, refuse_dims, refuse_empty, restored
from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grad = tuple[torch.Tensor]


@op(real("*b n"), choices={"p": (2.0, 1.0, 3.0, math.inf), **CHOICES})
def norm(x: torch.Tensor, *, p: float = 2.0, dim: Dims = None, keepdim: bool = False) -> torch.Tensor:
    """(Σ |x|ᵖ)^(1/p) over dimension `dim`, several, or all for None; the largest |x| for p = inf.

    `x` has any shape; the output lacks the reduced dimensions, or has them with size 1 where `keepdim`. Where the norm is 0
    the subgradient is 0; for p = inf elements that tie share the gradient equally; both as in torch.
    Raises `InvalidArgument` for p below 1, dimensions that there are not or are named twice, empty ones for p = inf.
    Source: Boyd and Vandenberghe, "Convex Optimization", 2004, section A.1.2.

    >>> norm(torch.tensor([3.0, -4.0])), norm(torch.tensor([3.0, -4.0]), p=math.inf)
    (tensor(5.), tensor(4.))
    """
    y: torch.Tensor = torch.linalg.vector_norm(x, p, axes_of(dim, x.ndim) or None, keepdim)
    return y


@norm.backward
@rounded_once
def norm_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    *,
    p: float = 2.0,
    dim: Dims = None,
    keepdim: bool = False,
) -> Grad:
    """dx = g sign(x) (|x| / y)ᵖ⁻¹, for p = 2 g x / y, for p = inf g sign(x) / k at the k largest |x|; 0 where y = 0."""
    g, y = (restored(value, dim, x.ndim, keepdim) for value in (grad_output, output))
    if p == math.inf:
        largest = x.abs() == y
        return (torch.where(largest, g * x.sgn() / largest.sum(axes_of(dim, x.ndim), keepdim=True), 0),)
    if p == 1:
        return (g * x.sgn(),)
    none = y == 0
    share = x / torch.where(none, 1, y)
    if p == 2:
        return (g.masked_fill(none, 0) * share,)
    return (g.masked_fill(none, 0) * x.sgn() * share.abs().pow(p - 1),)


refuse_dims(norm)
norm.accepts(real(""))


@norm.validator
def check_norm(x: torch.Tensor, *, p: float = 2.0, dim: Dims = None, keepdim: bool = False) -> None:
    """Raise `InvalidArgument` for what is no norm, and for the largest of no elements."""
    if not p >= 1:
        raise InvalidArgument(f"norm: p is {p}, for which it is no norm; pass p of at least 1, such as 2 or math.inf")
    if p == math.inf and isinstance(x, torch.Tensor):
        refuse_empty("norm with p=inf", x, dim)
