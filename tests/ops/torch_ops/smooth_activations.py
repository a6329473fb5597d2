"""Smooth activations of torch."""

import torch
from torch.nn import functional as F

from gradcheck_lab import ops

TORCH = {
    ops.tanh: torch.tanh,
    ops.sigmoid: torch.sigmoid,
    ops.softplus: F.softplus,
    ops.gelu: F.gelu,
    ops.silu: F.silu,
}
