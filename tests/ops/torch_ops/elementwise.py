"""Elementary functions of torch."""

import torch

from gradcheck_lab import ops

TORCH = {
    ops.exp: torch.exp,
    ops.log: torch.log,
    ops.log1p: torch.log1p,
    ops.sqrt: torch.sqrt,
    ops.rsqrt: torch.rsqrt,
    ops.abs: torch.abs,
    ops.sin: torch.sin,
    ops.cos: torch.cos,
}
