"""Products that a GPU computes in fewer bits than their dtype has, where a setting of torch lets it."""

from __future__ import annotations

import torch


def reduced(device: str, dtype: torch.dtype, level: torch.dtype, precision: str) -> str:
    """What explains an error at the level of a narrower dtype, and what turns it off; empty where it is not TF32.

    `precision` is that of `torch.get_float32_matmul_precision()`, which can be read where there is no GPU. TF32 keeps the 10
    bits of float16's fraction.

    >>> reduced("cuda", torch.float32, torch.float16, "high")
    "float32 products are computed in TF32; torch.set_float32_matmul_precision('highest') turns that off"
    >>> reduced("cpu", torch.float32, torch.float16, "high")
    ''
    """
    if device != "cuda" or precision == "highest" or (dtype, level) != (torch.float32, torch.float16):
        return ""
    return "float32 products are computed in TF32; torch.set_float32_matmul_precision('highest') turns that off"
