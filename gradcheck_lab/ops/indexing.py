"""Ops that pick elements by indices or fill them by a mask."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._axes import axes_of, refuse_dims
from gradcheck_lab.ops._reduce import sum_to
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import integers, labels, mask, real

Pair = tuple[torch.Tensor, None]


@op(real("*b c"), labels("*b k", classes="c"), choices={"dim": (-1, 0, 1)})
def gather(x: torch.Tensor, index: torch.Tensor, *, dim: int = -1) -> torch.Tensor:
    """Along dimension `dim` the elements of `x` whose places `index` holds.

    `x` and `index` (integers) have as many dimensions, `index` none larger than `x` but for `dim`; the output has the shape
    of `index`. An element that is picked twice gets both gradients.
    Raises `InvalidArgument` for a dimension that there is not, indices out of range, or shapes that do not fit.

    >>> gather(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[2, 2]])).tolist()
    [[3.0, 3.0]]
    """
    return x.gather(dim, index.long())


gather.accepts(real("c *b"), labels("k *b", classes="c"))
gather.accepts(real("*s"), integers("*t", low=0, high=1))  # index smaller than x in other dimensions
refuse_dims(gather, default=-1, several=False)


@gather.validator
def check_gather(x: torch.Tensor, index: torch.Tensor, *, dim: int = -1) -> None:
    """Raise `InvalidArgument` for an index that does not fit."""
    if not isinstance(x, torch.Tensor) or not isinstance(index, torch.Tensor):
        return
    axis = axes_of(dim, x.ndim)[0]
    if index.ndim != x.ndim or any(index.shape[i] > x.shape[i] for i in range(x.ndim) if i != axis):
        raise InvalidArgument(
            f"gather: index has shape {tuple(index.shape)} and x {tuple(x.shape)}; give index as many dimensions, none larger "
            f"but dim {dim}"
        )
    _refuse_out_of_range("gather", x, index, dim)


@gather.backward
def gather_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, index: torch.Tensor, *, dim: int = -1
) -> Pair:
    """dx = zeros, to which g is added at the places that index holds."""
    return torch.zeros_like(x).scatter_add(dim, index.long(), grad_output), None


@op(real("c *b"), labels("k", classes="c"), choices={"dim": (0, -1, 1)})
def index_select(x: torch.Tensor, index: torch.Tensor, *, dim: int = 0) -> torch.Tensor:
    """The slices of `x` along dimension `dim` that `index` names, in its order.

    `x` has any shape with that dimension, `index` (k,) integers; the output has k for its size there. A slice that is named
    twice gets both gradients.
    Raises `InvalidArgument` for a dimension that there is not, or indices that are out of range or no vector.

    >>> index_select(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2, 0, 2])).tolist()
    [3.0, 1.0, 3.0]
    """
    return x.index_select(dim, index.long())


index_select.accepts(real("*b c"), labels("k", classes="c"))
refuse_dims(index_select, default=0, several=False)


@index_select.validator
def check_index_select(x: torch.Tensor, index: torch.Tensor, *, dim: int = 0) -> None:
    """Raise `InvalidArgument` for an index that does not fit."""
    if not isinstance(x, torch.Tensor) or not isinstance(index, torch.Tensor):
        return
    if index.ndim != 1:
        raise InvalidArgument(f"index_select: index has shape {tuple(index.shape)}; pass a vector, index.reshape(-1)")
    _refuse_out_of_range("index_select", x, index, dim)


@index_select.backward
def index_select_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, index: torch.Tensor, *, dim: int = 0
) -> Pair:
    """dx = zeros, to whose slices those of g are added at the places that index holds."""
    return torch.zeros_like(x).index_add(dim, index.long(), grad_output), None


@op(real("*#s"), mask("*#s"), choices={"value": (0.0, -2.5)})
def masked_fill(x: torch.Tensor, mask: torch.Tensor, *, value: float = 0.0) -> torch.Tensor:
    """`value` where the mask is true, else `x`.

    `x` and `mask` (booleans) have shapes that broadcast; the output has the broadcast shape. `value` may be infinite.

    >>> masked_fill(torch.ones(2), torch.tensor([True, False]), value=-torch.inf).tolist()
    [-inf, 1.0]
    """
    return x.masked_fill(mask, value)


@masked_fill.backward
def masked_fill_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, mask: torch.Tensor, *, value: float = 0.0
) -> Pair:
    """dx = g where the mask is false, else 0, summed to the shape of x."""
    return sum_to(grad_output.masked_fill(mask, 0), x.shape), None


def _refuse_out_of_range(name: str, x: torch.Tensor, index: torch.Tensor, dim: int) -> None:
    size = x.shape[axes_of(dim, x.ndim)[0]] if x.ndim else 1
    if index.numel() and not (int(index.min()) >= 0 and int(index.max()) < size):
        raise InvalidArgument(
            f"{name}: indices range from {int(index.min())} to {int(index.max())} and dim {dim} of shape {tuple(x.shape)} has "
            f"places 0 to {size - 1}; pass index.clamp(0, {size - 1}) or count from 0"
        )
