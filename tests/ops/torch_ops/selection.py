"""Selections of torch."""

import torch

from gradcheck_lab import ops

TORCH = {
    ops.where: torch.where,
    ops.maximum: torch.maximum,
    ops.minimum: torch.minimum,
}
