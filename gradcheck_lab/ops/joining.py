"""Ops that join tensors to one, and that cut one in several."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.ops._axes import axes_of, refuse_dims
from gradcheck_lab.rules.op import op
from gradcheck_lab.specs import real


@op(real("m *b"), real("n *b"), choices={"dim": (0, -1, 1)})
def concatenate(*tensors: torch.Tensor, dim: int = 0) -> torch.Tensor:
    """The tensors one after the other along dimension `dim`.

    Any number of tensors with the same shape but for that dimension; its sizes add up in the output.
    Raises `InvalidArgument` for a dimension that there is not, or other sizes that differ.

    >>> concatenate(torch.ones(2, 3), torch.zeros(1, 3)).shape
    torch.Size([3, 3])
    """
    return torch.cat(tensors, dim)


concatenate.accepts(real("k *b"), real("m *b"), real("n *b"))
concatenate.accepts(real("*b m"), real("*b n"))
concatenate.accepts(real("*b n"), real("*b n"), real("*b n"))
refuse_dims(concatenate, several=False)


@concatenate.validator
def refuse_other_sizes(*tensors: torch.Tensor, dim: int = 0) -> None:
    """Raise `InvalidArgument` for tensors that do not fit side by side."""
    if not tensors or not all(isinstance(value, torch.Tensor) for value in tensors):
        return
    first, axis = tensors[0], dim % max(1, tensors[0].ndim)
    for index, value in enumerate(tensors):
        same = value.ndim == first.ndim > 0
        if not same or any(value.shape[i] != first.shape[i] for i in range(first.ndim) if i != axis):
            raise InvalidArgument(
                f"concatenate: tensor 0 has shape {tuple(first.shape)} and tensor {index} {tuple(value.shape)}; all sizes but "
                f"those of dim {dim} have to be the same, of at least one dimension"
            )


@concatenate.backward
def concatenate_backward(
    grad_output: torch.Tensor, output: torch.Tensor, *tensors: torch.Tensor, dim: int = 0
) -> tuple[torch.Tensor, ...]:
    """dxᵢ = the part of g that lies where xᵢ does."""
    return tuple(grad_output.split([value.shape[dim] for value in tensors], dim))


@op(real("*s"), real("*s"), choices={"dim": (0, -1, 1, -2)})
def stack(*tensors: torch.Tensor, dim: int = 0) -> torch.Tensor:
    """The tensors side by side along a new dimension, which is number `dim` of the output.

    Any number of tensors of one shape. Raises `InvalidArgument` for shapes that differ, or a place that the output has not.

    >>> stack(torch.ones(3), torch.zeros(3), dim=-1).shape
    torch.Size([3, 2])
    """
    return torch.stack(tensors, dim)


stack.accepts(real("*s"), real("*s"), real("*s"))


@stack.validator
def refuse_other_shapes(*tensors: torch.Tensor, dim: int = 0) -> None:
    """Raise `InvalidArgument` for tensors that do not fit side by side, or no place for the new dimension."""
    if not tensors or not all(isinstance(value, torch.Tensor) for value in tensors):
        return
    first = tensors[0]
    for index, value in enumerate(tensors):
        if value.shape != first.shape:
            raise InvalidArgument(
                f"stack: tensor 0 has shape {tuple(first.shape)} and tensor {index} {tuple(value.shape)}; pass tensors of one "
                f"shape, or use concatenate"
            )
    if not -first.ndim - 1 <= dim <= first.ndim:
        raise InvalidArgument(
            f"stack: dim {dim} is no place among the dimensions of shape {tuple(first.shape)}; pass one from "
            f"{-first.ndim - 1} to {first.ndim}"
        )


@stack.backward
def stack_backward(
    grad_output: torch.Tensor, output: torch.Tensor, *tensors: torch.Tensor, dim: int = 0
) -> tuple[torch.Tensor, ...]:
    """dxᵢ = slice i of g along the new dimension."""
    return grad_output.unbind(dim)


@op(real("n *b"), choices={"split_size": (1, 2, (1, 1), (2, 1), (0, 3)), "dim": (0, -1, 1)})
def split(x: torch.Tensor, *, split_size: int | Sequence[int] = 1, dim: int = 0) -> tuple[torch.Tensor, ...]:
    """The parts of `x` along dimension `dim`: each of `split_size`, the last perhaps smaller, or of the sizes in a list.

    `x` has any shape with that dimension; the outputs have it with their part of the size.
    Raises `InvalidArgument` for a dimension that there is not, a size below 1, or sizes that do not add up.

    >>> [part.tolist() for part in split(torch.arange(3.0), split_size=2)]
    [[0.0, 1.0], [2.0]]
    """
    return tuple(torch.split(x, split_size if isinstance(split_size, int) else list(split_size), dim))


refuse_dims(split, several=False)


@split.validator
def refuse_sizes(x: torch.Tensor, *, split_size: int | Sequence[int] = 1, dim: int = 0) -> None:
    """Raise `InvalidArgument` for parts that `x` cannot be cut in."""
    if not isinstance(x, torch.Tensor):
        return
    if not x.ndim:
        raise InvalidArgument("split: x has no dimension to split; pass x.reshape(1)")
    size = x.shape[axes_of(dim, x.ndim)[0]]
    if isinstance(split_size, int):
        if split_size < 1:
            raise InvalidArgument(f"split: split_size is {split_size}; pass at least 1, or a list of sizes")
    elif min(split_size, default=-1) < 0 or torch.tensor(split_size).sum() != size:
        raise InvalidArgument(
            f"split: the sizes {tuple(split_size)} do not add up to {size}, the size of dim {dim} of shape {tuple(x.shape)}"
        )


@split.backward
def split_backward(
    grad_outputs: tuple[torch.Tensor | None, ...],
    outputs: tuple[torch.Tensor, ...],
    x: torch.Tensor,
    *,
    split_size: int | Sequence[int] = 1,
    dim: int = 0,
) -> tuple[torch.Tensor]:
    """dx = the g of all parts, one after the other; 0 for a part that was not used."""
    parts = [torch.zeros_like(y) if g is None else g for g, y in zip(grad_outputs, outputs, strict=True)]
    return (torch.cat(parts, dim),)
