"""Powers of torch."""

import torch

from gradcheck_lab import ops

TORCH = {
    ops.pow: torch.pow,
}
