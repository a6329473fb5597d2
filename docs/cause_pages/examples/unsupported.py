"""A Function that says with `once_differentiable` that nobody may differentiate its backward. The second derivative
is asked for, and refused by a message: that is no mistake.
"""

import torch
from torch.autograd.function import once_differentiable

import gradcheck_lab as gl


class Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.slope = 1 - torch.tanh(x) ** 2
        return torch.tanh(x)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output):
        return grad_output * ctx.slope


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check(Tanh, x)
