"""Dropout whose backward draws a new mask, where it needs the one of the forward."""

import torch

import gradcheck_lab as gl


class Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        mask = torch.rand_like(x) > 0.5
        return x * mask * 2

    @staticmethod
    def backward(ctx, grad_output):
        mask = torch.rand_like(grad_output) > 0.5
        return grad_output * mask * 2


# %% call
x = torch.arange(1, 21, dtype=torch.float64).reshape(4, 5) / 10
report = gl.check(Dropout, x)


# %% mended
class Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        mask = torch.rand_like(x) > 0.5
        ctx.save_for_backward(mask)
        return x * mask * 2

    @staticmethod
    def backward(ctx, grad_output):
        (mask,) = ctx.saved_tensors
        return grad_output * mask * 2
