"""Largest and smallest elements over any dimensions, and the smooth maximum."""

from __future__ import annotations

import torch

from gradcheck_lab.ops._axes import CHOICES, Dims, axes_of, refuse_dims, restored
from gradcheck_lab.ops._precision import rounded_once
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grad = tuple[torch.Tensor]


@op(real("*b n"), choices=CHOICES)
def amax(x: torch.Tensor, *, dim: Dims = None, keepdim: bool = False) -> torch.Tensor:
    """The largest element over dimension `dim`, several, or all for None.

    `x` has any shape; the output lacks the reduced dimensions, or has them with size 1 where `keepdim`. Elements that tie
    share the gradient equally, as in torch.
    Raises `InvalidArgument` for dimensions that there are not, are named twice, or are empty.

    >>> amax(torch.tensor([[1.0, 3.0], [5.0, 2.0]]), dim=1).tolist()
    [3.0, 5.0]
    """
    return x.amax(axes_of(dim, x.ndim), keepdim=keepdim)


@amax.backward
@rounded_once
def amax_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dim: Dims = None, keepdim: bool = False
) -> Grad:
    """dx = g / k at the k elements that are equal to the output, else 0."""
    return (_to_the_equal(grad_output, output, x, dim, keepdim),)


@op(real("*b n"), choices=CHOICES)
def amin(x: torch.Tensor, *, dim: Dims = None, keepdim: bool = False) -> torch.Tensor:
    """The smallest element over dimension `dim`, several, or all for None.

    `x` has any shape; the output lacks the reduced dimensions, or has them with size 1 where `keepdim`. Elements that tie
    share the gradient equally, as in torch.
    Raises `InvalidArgument` for dimensions that there are not, are named twice, or are empty.

    >>> amin(torch.tensor([[1.0, 3.0], [5.0, 2.0]]), dim=1).tolist()
    [1.0, 2.0]
    """
    return x.amin(axes_of(dim, x.ndim), keepdim=keepdim)


@amin.backward
@rounded_once
def amin_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dim: Dims = None, keepdim: bool = False
) -> Grad:
    """dx = g / k at the k elements that are equal to the output, else 0."""
    return (_to_the_equal(grad_output, output, x, dim, keepdim),)


@op(real("*b n"), choices=CHOICES)
def logsumexp(x: torch.Tensor, *, dim: Dims = None, keepdim: bool = False) -> torch.Tensor:
    """log Σ eˣ over dimension `dim`, several, or all for None; stable for any finite `x`.

    `x` has any shape; the output lacks the reduced dimensions, or has them with size 1 where `keepdim`. A row of -inf, or
    of no elements, is -inf, and its gradient is 0.
    Raises `InvalidArgument` for dimensions that there are not, or that are named twice.
    Source: Blanchard, Higham and Higham, "Accurately computing the log-sum-exp and softmax functions", 2021.

    >>> logsumexp(torch.tensor([1e4, 1e4])) == 1e4 + torch.tensor(2.0).log()
    tensor(True)
    """
    return x.logsumexp(axes_of(dim, x.ndim), keepdim=keepdim)


@logsumexp.backward
@rounded_once
def logsumexp_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dim: Dims = None, keepdim: bool = False
) -> Grad:
    """dx = g softmax(x), 0 where the output is -inf."""
    if not x.numel():
        return (torch.zeros_like(x),)
    axes = axes_of(dim, x.ndim)
    largest = x.detach().amax(axes, keepdim=True)
    e = (x - torch.where(largest == -torch.inf, 0, largest)).exp()
    total = e.sum(axes, keepdim=True)
    return (restored(grad_output, dim, x.ndim, keepdim) * (e / torch.where(total == 0, 1, total)),)


def _to_the_equal(g: torch.Tensor, output: torch.Tensor, x: torch.Tensor, dim: Dims, keepdim: bool) -> torch.Tensor:
    chosen = x == restored(output, dim, x.ndim, keepdim)
    share = restored(g, dim, x.ndim, keepdim) / chosen.sum(axes_of(dim, x.ndim), keepdim=True)
    return torch.where(chosen, share, 0)


refuse_dims(amax, filled=True)
refuse_dims(amin, filled=True)
refuse_dims(logsumexp)
for _op in (amax, amin, logsumexp):
    _op.accepts(real(""))
