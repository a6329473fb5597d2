"""A gradient penalty differentiates the backward. This one keeps a number of its own that autograd cannot follow, so
that the second derivative lacks a part, silently.
"""

import torch

import gradcheck_lab as gl


class Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.slope = 1 - torch.tanh(x) ** 2
        return torch.tanh(x)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output * ctx.slope


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check(Tanh, x, order=2)


# %% mended
class Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad_output):
        (y,) = ctx.saved_tensors
        return grad_output * (1 - y**2)


report = gl.check(Tanh, x, order=2)
