"""torchlpc and torchcomp: recursive filters along time, by compiled loops."""

import torch
from torchcomp.core import CompressorFunction
from torchlpc.core import LPC
from torchlpc.recurrence import Recurrence

import gradcheck_lab as gl

torch.manual_seed(0)
SIGNAL, STATE = torch.randn(2, 6, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
ONE_STATE = torch.ones(2, dtype=torch.float64)
COEFFICIENTS, DECAY = 0.3 * torch.randn(2, 6, 2, dtype=torch.float64), 0.5 * torch.randn(2, 6, dtype=torch.float64)
ATTACK, RELEASE = torch.tensor([0.3, 0.5], dtype=torch.float64), torch.tensor([0.1, 0.2], dtype=torch.float64)

if __name__ == "__main__":
    gl.check(LPC, SIGNAL, COEFFICIENTS, STATE)
    gl.check(Recurrence, DECAY, SIGNAL, ONE_STATE)
    gl.check(CompressorFunction, SIGNAL.abs(), ONE_STATE, ATTACK, RELEASE)
