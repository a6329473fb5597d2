"""Rotary position embedding: pairs (first half, second half) turned by position times frequency."""

import torch

from gradcheck_lab.specs import real

specs = (real("b t 2h"),)
options = {"base": 100.0}


def reference(x, base=100.0):
    half = x.shape[-1] // 2
    frequency = base ** (-torch.arange(half, dtype=x.dtype, device=x.device) / max(half, 1))
    angle = torch.arange(x.shape[1], dtype=x.dtype, device=x.device)[:, None] * frequency
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()], -1)
