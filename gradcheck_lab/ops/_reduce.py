"""What several families share: undoing a broadcast, and the reductions of losses."""

from __future__ import annotations

import torch

from gradcheck_lab.errors import InvalidArgument


def sum_to(grad: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Sum `grad` over the axes that broadcasting added to, or stretched in, a tensor of `shape`.

    >>> sum_to(torch.ones(4, 3), torch.Size([3])).tolist()
    [4.0, 4.0, 4.0]
    """
    lead = grad.ndim - len(shape)
    stretched = [lead + i for i, size in enumerate(shape) if size == 1 and grad.shape[lead + i] != 1]
    axes = [*range(lead), *stretched]
    if not axes:
        return grad
    return grad.sum(axes).reshape(shape) if stretched else grad.sum(axes)


def refuse_reduction(op: str, reduction: str, known: tuple[str, ...]) -> None:
    """Raise `InvalidArgument` for a reduction that `op` does not have."""
    if reduction not in known:
        raise InvalidArgument(f"{op} has no reduction {reduction!r}; it has {', '.join(map(repr, known))}")
