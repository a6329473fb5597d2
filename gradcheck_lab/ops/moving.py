"""Ops that move elements within a tensor, or to its inside or outside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._axes import Dims, axes_of, refuse_dims
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grad = tuple[torch.Tensor]


@op(real("*s"), choices={"dims": (None, -1, 0, (0, -1))})
def flip(x: torch.Tensor, *, dims: Dims = None) -> torch.Tensor:
    """`x` with the order of its elements reversed along `dims`, along all for None.

    `x` and the output have one shape. Raises `InvalidArgument` for dimensions that there are not or are named twice.

    >>> flip(torch.tensor([1.0, 2.0, 3.0])).tolist()
    [3.0, 2.0, 1.0]
    """
    return x.flip(axes_of(dims, x.ndim)) if x.ndim else x.clone()


@flip.backward
def flip_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dims: Dims = None) -> Grad:
    """dx = g reversed along the same dimensions."""
    return (grad_output.flip(axes_of(dims, x.ndim)) if x.ndim else grad_output,)


refuse_dims(flip, option="dims")


@op(real("*s"), choices={"shifts": (1, -2, (1, 2)), "dims": (None, -1, (0, -1), (0, 0))})
def roll(x: torch.Tensor, *, shifts: int | Sequence[int] = 1, dims: Dims = None) -> torch.Tensor:
    """`x` with its elements moved `shifts` places on along `dims`, the last coming first; over the flat tensor for None.

    `x` and the output have one shape. A shift for each dimension; a dimension may be named twice.
    Raises `InvalidArgument` for dimensions that there are not, or another number of shifts.

    >>> roll(torch.tensor([1.0, 2.0, 3.0])).tolist()
    [3.0, 1.0, 2.0]
    """
    return x.roll(*_places(shifts, dims))


@roll.validator
def refuse_unpaired(x: torch.Tensor, *, shifts: int | Sequence[int] = 1, dims: Dims = None) -> None:
    """Raise `InvalidArgument` where shifts and dimensions do not go together."""
    moves, named = _places(shifts, dims)
    if len(moves) != max(1, len(named)):
        raise InvalidArgument(f"roll: {len(moves)} shifts were given for {len(named)} dims; pass one shift per dimension")
    if isinstance(x, torch.Tensor) and any(not -x.ndim <= axis < x.ndim for axis in named):
        raise InvalidArgument(f"roll: dims {named} are not dimensions of shape {tuple(x.shape)}; name those that there are")


@roll.backward
def roll_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    *,
    shifts: int | Sequence[int] = 1,
    dims: Dims = None,
) -> Grad:
    """dx = g moved as many places back."""
    moves, named = _places(shifts, dims)
    return (grad_output.roll([-move for move in moves], named),)


def _places(shifts: int | Sequence[int], dims: Dims) -> tuple[tuple[int, ...], tuple[int, ...]]:
    moves = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    return moves, () if dims is None else (dims,) if isinstance(dims, int) else tuple(dims)


@op(real("*b n"), choices={"padding": ((1, 0), (0, 2), (-1, 1), (0, 1, 2, 0)), "value": (0.0, 1.5)})
def pad(x: torch.Tensor, *, padding: Sequence[int] = (0, 0), value: float = 0.0) -> torch.Tensor:
    """`x` with `value` around it: `padding` is what to put before and after the last dimension, then the last but one, ...

    `x` has any shape; the output is larger by the padding, or smaller where that is negative.
    Raises `InvalidArgument` for padding that does not come in pairs, is of more dimensions than `x`, or leaves nothing.

    >>> pad(torch.ones(2), padding=(1, 2)).tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0]
    """
    return F.pad(x, tuple(padding), value=value)


@pad.validator
def refuse_unpaired_padding(x: torch.Tensor, *, padding: Sequence[int] = (0, 0), value: float = 0.0) -> None:
    """Raise `InvalidArgument` for padding that `x` cannot have."""
    if not isinstance(x, torch.Tensor):
        return
    given, shape = tuple(padding), tuple(x.shape)
    if len(given) % 2 or len(given) > 2 * x.ndim:
        raise InvalidArgument(
            f"pad: padding {given} has {len(given)} numbers and shape {shape} {x.ndim} dimensions; pass two for each, from the "
            f"last one"
        )
    for i, size in enumerate(reversed(shape[x.ndim - len(given) // 2 :])):
        if size + given[2 * i] + given[2 * i + 1] < 0 or min(given[2 * i : 2 * i + 2]) < -size:
            raise InvalidArgument(f"pad: padding {given} takes away more than shape {shape} has; pass larger numbers")


@pad.backward
def pad_backward(
    grad_output: torch.Tensor,
    output: torch.Tensor,
    x: torch.Tensor,
    *,
    padding: Sequence[int] = (0, 0),
    value: float = 0.0,
) -> Grad:
    """dx = g without the padding, and 0 where the padding was negative."""
    return (F.pad(grad_output, tuple(-size for size in padding)),)


@op(real("*b m n"), choices={"diagonal": (0, 1, -1)})
def tril(x: torch.Tensor, *, diagonal: int = 0) -> torch.Tensor:
    """The lower triangle of the last two dimensions, with the given diagonal; 0 above it.

    `x` (*b, m, n) and the output have one shape.

    >>> tril(torch.ones(2, 2)).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    return x.tril(diagonal)


@tril.backward
def tril_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, diagonal: int = 0) -> Grad:
    """dx = the lower triangle of g."""
    return (grad_output.tril(diagonal),)
