"""Upstream gradients: short random numbers that are exact in every floating dtype."""

from __future__ import annotations

import torch

_PERIOD = 99991


def random_like(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """An upstream gradient of the shape, dtype and device of `value`: short, non-zero, non-uniform numbers.

    They are multiples of 1/64 of either sign between 1/4 and 2, exact in every floating dtype. A large tensor repeats
    a block of prime length, each time multiplied by a new random power of two, so that drawing is as fast as writing.
    """
    count = value.numel() * (2 if value.is_complex() else 1)
    flat = _short_numbers(min(count, _PERIOD), generator)
    if count > _PERIOD:
        rows = -(-count // _PERIOD)
        factors = _short_numbers(rows, generator).sign() * 2.0 ** torch.randint(-2, 2, (rows,), generator=generator)
        dtype = _real(value.dtype)
        flat = (flat.to(dtype) * factors.to(dtype).unsqueeze(1)).reshape(-1)[:count]
    flat = flat.to(value.device, _real(value.dtype))
    return torch.view_as_complex(flat.reshape(*value.shape, 2)) if value.is_complex() else flat.reshape(value.shape)


def _short_numbers(count: int, generator: torch.Generator) -> torch.Tensor:
    size = torch.randint(16, 129, (count,), generator=generator)
    sign = torch.randint(0, 2, (count,), generator=generator) * 2 - 1
    return (size * sign).double() / 64


def _real(dtype: torch.dtype) -> torch.dtype:
    return dtype.to_real() if dtype.is_complex else dtype
