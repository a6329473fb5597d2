"""Attention of torch, and rotations as products of complex numbers."""

from typing import Any

import torch
from torch.nn import functional as F

from gradcheck_lab import ops


def attention(*inputs: torch.Tensor, **options: Any) -> torch.Tensor:
    return F.scaled_dot_product_attention(*inputs, **options)


def rotary_embedding(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool = False) -> torch.Tensor:
    half = x.shape[-1] // 2
    pairs = x.unflatten(-1, (half, 2)) if interleaved else torch.stack((x[..., :half], x[..., half:]), -1)
    turned = torch.view_as_real(torch.complex(pairs[..., 0], pairs[..., 1]) * torch.complex(cos, sin))
    return turned.flatten(-2) if interleaved else torch.cat((turned[..., 0], turned[..., 1]), -1)


TORCH = {
    ops.scaled_dot_product_attention: attention,
    ops.rotary_embedding: rotary_embedding,
}
