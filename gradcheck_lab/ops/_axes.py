"""Dimensions named by options: which they are, whether they exist, and how a reduced one is put back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gradcheck_lab.errors import InvalidArgument
from gradcheck_lab.rules.op import Op

Dims = int | Sequence[int] | None
CHOICES = {"dim": (None, -1, 0, (0, -1), (-2, -1)), "keepdim": (False, True)}


def axes_of(dim: Dims, ndim: int) -> tuple[int, ...]:
    """The dimensions that `dim` names, counted from the first; all of them for None.

    >>> axes_of(-1, 3), axes_of((0, -1), 3), axes_of(None, 2)
    ((2,), (0, 2), (0, 1))
    """
    if dim is None:
        return tuple(range(ndim))
    return tuple(axis % max(1, ndim) for axis in ((dim,) if isinstance(dim, int) else dim))


def restored(value: torch.Tensor, dim: Dims, ndim: int, keepdim: bool) -> torch.Tensor:
    """Put the reduced dimensions back with size 1, where `keepdim` did not keep them.

    >>> restored(torch.ones(4), (0, 2), 3, False).shape
    torch.Size([1, 4, 1])
    """
    if keepdim or ndim == 0:
        return value
    for axis in sorted(axes_of(dim, ndim)):
        value = value.unsqueeze(axis)
    return value


def count(x: torch.Tensor, dim: Dims) -> int:
    """How many elements of `x` are reduced to one."""
    return torch.Size([x.shape[axis] for axis in axes_of(dim, x.ndim)] if x.ndim else []).numel()


def refuse_dims(target: Op, *, option: str = "dim", default: Dims = None, several: bool = True, filled: bool = False) -> None:
    """Let an op refuse dimensions that its first input has not or that are named twice; where `filled`, empty ones too."""

    def check(x: torch.Tensor, *rest: object, **options: Any) -> None:
        if not isinstance(x, torch.Tensor):
            return
        dim = options.get(option, default)
        check_dims(target.name, x, dim, option=option, several=several)
        if filled:
            refuse_empty(target.name, x, dim)

    target.validator(check)


def check_dims(name: str, x: torch.Tensor, dim: Dims, *, option: str = "dim", several: bool = True) -> None:
    """Raise `InvalidArgument` for dimensions that `x` does not have, or that are named twice."""
    if dim is None:
        return
    shape = tuple(x.shape)
    if isinstance(dim, bool) or not (isinstance(dim, int) or (several and _whole_numbers(dim))):
        wanted = "a dimension or a tuple of them" if several else "one dimension"
        raise InvalidArgument(f"{name}: {option} is {dim!r}; pass {wanted}, counted from 0, or from -1 backwards")
    named = (dim,) if isinstance(dim, int) else tuple(dim)
    if not named:
        raise InvalidArgument(f"{name}: {option} is empty, which some read as all and some as none; pass None for all")
    room = max(1, len(shape))
    for axis in named:
        if not -room <= axis < room:
            raise InvalidArgument(
                f"{name}: {option} {axis} is not a dimension of shape {shape}; pass one from {-room} to {room - 1}"
            )
    if len(set(axes_of(dim, len(shape)))) < len(named):
        raise InvalidArgument(f"{name}: {option} {named} names a dimension of shape {shape} twice; name it once")


def refuse_empty(name: str, x: torch.Tensor, dim: Dims) -> None:
    """Raise `InvalidArgument` where one element of none would be chosen."""
    if count(x, dim) == 0:
        raise InvalidArgument(f"{name}: shape {tuple(x.shape)} has no elements along dim {dim}; pass at least one")


def _whole_numbers(value: object) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
