"""Embedding and dropout of torch."""

import torch
from torch.nn import functional as F

from gradcheck_lab import ops


def dropout(x: torch.Tensor, p: float = 0.5, training: bool = True, seed: int = 0) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return F.dropout(x.contiguous(), p, training)


TORCH = {
    ops.embedding: F.embedding,
    ops.dropout: dropout,
}
