"""Pictures of gradients: the errors of all elements counted, and the values as grids that keep the worst."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import torch

from gradcheck_lab.model.limits import PICTURED_CELLS_OF_A_SIDE, PICTURED_ELEMENTS, PICTURED_SLICES
from gradcheck_lab.model.pictures import DECADES, Picture


def distribution_of(used: torch.Tensor) -> tuple[int, ...]:
    """How many elements used which power of ten of their budget: no error at all, one count a decade of `DECADES`, not finite.

    >>> distribution_of(torch.tensor([0.0, 0.5, 20.0]))
    (1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0)
    """
    low, high = DECADES
    used = used.reshape(-1)
    finite = used[torch.isfinite(used)]
    some = finite[finite > 0]
    decade = some.log10().ceil().clamp(low, high).long() - low
    counts = torch.bincount(decade, minlength=high - low + 1).tolist()
    return (finite.numel() - some.numel(), *counts, used.numel() - finite.numel())


def picture_of(actual: torch.Tensor, expected: torch.Tensor, used: torch.Tensor) -> Picture | None:
    """Draw a gradient of any shape; None for one without elements or of too many."""
    if not 0 < expected.numel() <= PICTURED_ELEMENTS.value:
        return None
    if expected.is_complex():
        actual, expected = torch.view_as_real(actual.resolve_conj()), torch.view_as_real(expected.resolve_conj())
        used = used.unsqueeze(-1).expand(expected.shape)
    shape = expected.shape
    height, width = (1, 1, *shape)[-2:]
    planes = math.prod(shape[:-2])
    score = torch.nan_to_num(used.to(torch.float64), math.inf, math.inf).reshape(planes, height, width)
    chosen = _chosen(score.amax((1, 2)))
    rows, columns = (min(n, PICTURED_CELLS_OF_A_SIDE.value) for n in (height, width))
    top, at = torch.nn.functional.adaptive_max_pool2d(score[chosen], (rows, columns), return_indices=True)
    values = [v.detach().reshape(planes, -1)[chosen].gather(1, at.flatten(1)) for v in (actual, expected)]
    leading = [_unravelled(c, shape[:-2]) for c in chosen]
    floats = [_text(v.to(torch.float32)) for v in (*values, top)]
    return Picture(tuple(shape), rows, columns, tuple(leading), _text(at.to(torch.int32)), *floats)


def _unravelled(number: int, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(k) for k in torch.unravel_index(torch.tensor(number), tuple(shape))) if shape else ()


def _chosen(worst: torch.Tensor) -> list[int]:
    """Which slices are drawn: all of a few; else the worst ones, and others at even distances."""
    count, most = worst.numel(), PICTURED_SLICES.value
    if count <= most:
        return list(range(count))
    top = worst.topk(most // 2).indices.tolist()
    return sorted({*top, *((count - 1) * i // (most - most // 2 - 1) for i in range(most - most // 2))})


def _text(values: torch.Tensor) -> str:
    return base64.b64encode(values.detach().contiguous().cpu().numpy().tobytes()).decode("ascii")
