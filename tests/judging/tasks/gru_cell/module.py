import torch
from torch import nn


class GRUGates(nn.Module):
    def forward(self, update, reset, from_input, from_state, state):
        z = 1 / (1 + torch.exp(-update.clamp(-700 if update.dtype == torch.float64 else -85)))
        r = torch.sigmoid(reset)
        n = torch.tanh(from_input + r * from_state)
        return n + z * (state - n)


candidate = GRUGates
