"""A Function returns the gradient of a broadcast bias without the sum over the rows. torch's engine sums it on the
way, so that training is right; called from anywhere else the shape is wrong.
"""

import torch

import gradcheck_lab as gl


class Shift(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, bias):
        return x + bias

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output, grad_output


# %% call
x, bias = torch.arange(12, dtype=torch.float64).reshape(4, 3), torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
report = gl.check(Shift, x, bias)


# %% mended
class Shift(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, bias):
        ctx.shape = bias.shape
        return x + bias

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output, grad_output.sum_to_size(ctx.shape)
