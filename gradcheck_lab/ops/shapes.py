"""Ops that lay the same elements out in another shape, or repeat them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._axes import Dims, axes_of, refuse_dims
from gradcheck_lab.ops._reduce import sum_to
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real

Grad = tuple[torch.Tensor]


@op(real("*s"), choices={"shape": ((-1,), (1, -1), (-1, 1), (2, -1), (-1, 2, 1))})
def reshape(x: torch.Tensor, *, shape: Sequence[int] = (-1,)) -> torch.Tensor:
    """The elements of `x`, row by row, in another shape; one size may be -1, for what is left.

    `x` and `shape` have as many elements; the output has `shape`, flat unless told.
    Raises `InvalidArgument` for a shape of another number of elements.

    >>> reshape(torch.ones(2, 3), shape=(3, -1)).shape
    torch.Size([3, 2])
    """
    return x.reshape(tuple(shape))


@reshape.validator
def refuse_other_size(x: torch.Tensor, *, shape: Sequence[int] = (-1,)) -> None:
    """Raise `InvalidArgument` for a shape that the elements do not fill."""
    if not isinstance(x, torch.Tensor):
        return
    given = tuple(shape)
    known = torch.Size([size for size in given if size != -1]).numel()
    guessed = given.count(-1)
    fits = known > 0 and x.numel() % known == 0 if guessed else known == x.numel()
    if guessed > 1 or min(given, default=0) < -1 or not fits:
        raise InvalidArgument(
            f"reshape: x has shape {tuple(x.shape)}, of {x.numel()} elements, which do not fill {given}; "
            f"pass sizes whose product is {x.numel()}, at most one of them -1"
        )


@reshape.backward
def reshape_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, shape: Sequence[int] = (-1,)) -> Grad:
    """dx = g in the shape of x."""
    return (grad_output.reshape(x.shape),)


@op(real("*b m n"), choices={"dim0": (-2, 0, -1), "dim1": (-1, 1)})
def transpose(x: torch.Tensor, *, dim0: int = -2, dim1: int = -1) -> torch.Tensor:
    """`x` with two dimensions exchanged, the last two unless told.

    `x` has any shape with those dimensions; the output has it with their sizes exchanged.
    Raises `InvalidArgument` for a dimension that there is not.

    >>> transpose(torch.ones(4, 2, 3)).shape
    torch.Size([4, 3, 2])
    """
    return x.transpose(dim0, dim1)


@transpose.backward
def transpose_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dim0: int = -2, dim1: int = -1
) -> Grad:
    """dx = g with the same two dimensions exchanged."""
    return (grad_output.transpose(dim0, dim1),)


transpose.accepts(real("n"))
refuse_dims(transpose, option="dim0", default=-2, several=False)
refuse_dims(transpose, option="dim1", default=-1, several=False)


@op(real("*s"), choices={"dims": (None, (1, 0), (0, 2, 1), (2, 0, 1), (-2, -1, 0))})
def permute(x: torch.Tensor, *, dims: Sequence[int] | None = None) -> torch.Tensor:
    """`x` with its dimensions in the order `dims`, reversed for None.

    `x` has any shape; dimension i of the output is dimension dims[i] of `x`.
    Raises `InvalidArgument` where `dims` does not name each dimension once.

    >>> permute(torch.ones(2, 3, 4), dims=(2, 0, 1)).shape
    torch.Size([4, 2, 3])
    """
    return x.permute(_order(x, dims))


@permute.validator
def refuse_no_permutation(x: torch.Tensor, *, dims: Sequence[int] | None = None) -> None:
    """Raise `InvalidArgument` for what is no order of the dimensions."""
    if dims is None or not isinstance(x, torch.Tensor):
        return
    within = all(-x.ndim <= axis < x.ndim for axis in dims)
    if not within or sorted(axes_of(tuple(dims), x.ndim)) != list(range(x.ndim)):
        raise InvalidArgument(
            f"permute: dims {tuple(dims)} is no order of the {x.ndim} dimensions of shape {tuple(x.shape)}; name each once"
        )


@permute.backward
def permute_backward(
    grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dims: Sequence[int] | None = None
) -> Grad:
    """dx = g with its dimensions in the inverse order."""
    order = _order(x, dims)
    return (grad_output.permute([order.index(axis) for axis in range(x.ndim)]),)


def _order(x: torch.Tensor, dims: Sequence[int] | None) -> tuple[int, ...]:
    return tuple(reversed(range(x.ndim))) if dims is None else axes_of(tuple(dims), x.ndim)


@op(real("n"), choices={"shape": ((-1,), (2, -1), (3, 2, -1), (-1, 4), (2, 3), (0, -1))})
def expand(x: torch.Tensor, *, shape: Sequence[int] = (-1,)) -> torch.Tensor:
    """`x` with dimensions of size 1, and leading ones that it lacks, repeated to `shape`; -1 keeps a size.

    `x` has a shape that broadcasts to `shape`, which is the output's.
    Raises `InvalidArgument` for a shape that `x` does not broadcast to.

    >>> expand(torch.ones(3, 1), shape=(2, -1, 4)).shape
    torch.Size([2, 3, 4])
    """
    return x.expand(tuple(shape))


@expand.admits(real("*s"))
@expand.accepts(real("n 1"))
@expand.accepts(real(""))
@expand.validator
def refuse_what_is_no_broadcast(x: torch.Tensor, *, shape: Sequence[int] = (-1,)) -> None:
    """Raise `InvalidArgument` for a shape that `x` does not broadcast to."""
    if not isinstance(x, torch.Tensor):
        return
    given, lead = tuple(shape), len(shape) - x.ndim
    kept = zip(x.shape, given[max(lead, 0) :], strict=False)
    if lead < 0 or min(given[:lead], default=0) < 0 or any(new not in (-1, old) and (old != 1 or new < 0) for old, new in kept):
        raise InvalidArgument(
            f"expand: x has shape {tuple(x.shape)}, which does not broadcast to {given}; repeat dimensions of size 1 or new "
            f"leading ones, and pass -1 for a size that is kept"
        )


@expand.backward
def expand_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, shape: Sequence[int] = (-1,)) -> Grad:
    """dx = Σ g over the dimensions that were repeated."""
    return (sum_to(grad_output, x.shape),)


@op(real("*s"), choices={"dim": (None, -1, 0, (0, -1))})
def squeeze(x: torch.Tensor, *, dim: Dims = None) -> torch.Tensor:
    """`x` without its dimensions of size 1, or without those among `dim` that have it.

    `x` has any shape. Raises `InvalidArgument` for dimensions that there are not, or that are named twice.

    >>> squeeze(torch.ones(1, 3, 1), dim=-1).shape
    torch.Size([1, 3])
    """
    return x.squeeze(axes_of(dim, x.ndim))


@squeeze.backward
def squeeze_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dim: Dims = None) -> Grad:
    """dx = g in the shape of x."""
    return (grad_output.reshape(x.shape),)


refuse_dims(squeeze)


@op(real("*s"), choices={"dim": (0, -1, 1, -2)})
def unsqueeze(x: torch.Tensor, *, dim: int = 0) -> torch.Tensor:
    """`x` with one more dimension, of size 1, which is number `dim` of the output.

    `x` has any shape. Raises `InvalidArgument` for a place that the output does not have.

    >>> unsqueeze(torch.ones(3), dim=-1).shape
    torch.Size([3, 1])
    """
    return x.unsqueeze(dim)


@unsqueeze.validator
def refuse_no_place(x: torch.Tensor, *, dim: int = 0) -> None:
    """Raise `InvalidArgument` for a place that the output does not have."""
    if isinstance(x, torch.Tensor) and not -x.ndim - 1 <= dim <= x.ndim:
        raise InvalidArgument(
            f"unsqueeze: dim {dim} is no place among the dimensions of shape {tuple(x.shape)}; pass one from {-x.ndim - 1} "
            f"to {x.ndim}"
        )


@unsqueeze.backward
def unsqueeze_backward(grad_output: torch.Tensor, output: torch.Tensor, x: torch.Tensor, *, dim: int = 0) -> Grad:
    """dx = g in the shape of x."""
    return (grad_output.reshape(x.shape),)
