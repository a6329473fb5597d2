"""A shift away from zero jumps at zero itself, from both sides, so that there is no derivative to compare with at
that element. It runs in NumPy, where autograd cannot follow, so numbers decide.
"""

import numpy as np
import torch

import gradcheck_lab as gl


class AwayFromZero(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        values = x.detach().numpy()
        return torch.from_numpy(values + np.sign(values))

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output.clone()


# %% call
x = torch.tensor([0.5, 0.0, -1.25], dtype=torch.float64)
report = gl.check(AwayFromZero, x)

# %% mended
x = torch.tensor([0.5, 0.1, -1.25], dtype=torch.float64)
report = gl.check(AwayFromZero, x)
