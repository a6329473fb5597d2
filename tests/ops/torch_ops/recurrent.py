"""Recurrent cells of torch."""

import torch

from gradcheck_lab import ops


def lstm_cell(x: torch.Tensor, h: torch.Tensor, c: torch.Tensor, *weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.lstm_cell(x, (h, c), *weights)


TORCH = {
    ops.lstm_cell: lstm_cell,
    ops.gru_cell: torch.gru_cell,
}
