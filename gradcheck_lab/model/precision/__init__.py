"""What a dtype can resolve."""

from __future__ import annotations

import torch

BELOW_FLOAT64 = (torch.bfloat16, torch.float16, torch.float32)  # the coarsest first


def unit_roundoff(dtype: torch.dtype) -> float:
    """Half the distance from 1 to the next number of `dtype`.

    >>> unit_roundoff(torch.float64) == 2.0**-53
    True
    """
    return float(torch.finfo(dtype).eps) / 2


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which truths are computed: complex128 for complex numbers, float64 for all others."""
    return torch.complex128 if dtype.is_complex else torch.float64


def widened(value: torch.Tensor) -> torch.Tensor:
    """The tensor in float64 or complex128."""
    return value.to(wide_dtype(value.dtype))


def bits(dtype: torch.dtype) -> int:
    """How many bits a real number of `dtype` has; of a complex one, each of its two parts.

    >>> bits(torch.bfloat16), bits(torch.complex64)
    (16, 32)
    """
    return torch.finfo(dtype).bits


def is_narrow(dtype: torch.dtype) -> bool:
    """Whether its numbers have 16 bits, which do not resolve what 32 do: float16 and bfloat16."""
    return (dtype.is_floating_point or dtype.is_complex) and bits(dtype) == 16


def is_wide(dtype: torch.dtype) -> bool:
    """Whether its numbers have 64 bits, as those that truths are computed in: float64 and complex128."""
    return (dtype.is_floating_point or dtype.is_complex) and bits(dtype) == 64
