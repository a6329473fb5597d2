"""Softmax and its logarithm of torch."""

import torch

from gradcheck_lab import ops

TORCH = {
    ops.softmax: torch.softmax,
    ops.log_softmax: torch.log_softmax,
}
