"""Activations of torch."""

from torch.nn import functional as F

from gradcheck_lab import ops

TORCH = {
    ops.relu: F.relu,
}
