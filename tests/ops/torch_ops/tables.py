"""Embedding of torch; dropout, which torch draws by another generator, by its definition."""

import torch
from torch.nn import functional as F

from gradcheck_lab import ops


def dropout(x: torch.Tensor, p: float = 0.5, training: bool = True, seed: int = 0) -> torch.Tensor:
    if not training:
        return x
    uniform = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(uniform < p, 0.0, x if p == 1 else x / (1 - p))


TORCH = {
    ops.embedding: F.embedding,
    ops.dropout: dropout,
}
