"""What a dtype can resolve."""

from __future__ import annotations

import torch


def unit_roundoff(dtype: torch.dtype) -> float:
    """Half the distance from 1 to the next number of `dtype`.

    >>> unit_roundoff(torch.float64) == 2.0**-53
    True
    """
    return float(torch.finfo(dtype).eps) / 2
