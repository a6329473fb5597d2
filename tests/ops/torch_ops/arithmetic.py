"""Arithmetic of torch."""

import torch

from gradcheck_lab import ops

TORCH = {
    ops.add: torch.add,
    ops.sub: torch.sub,
    ops.mul: torch.mul,
    ops.div: torch.div,
    ops.neg: torch.neg,
}
