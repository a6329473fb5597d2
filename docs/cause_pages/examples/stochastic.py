"""Dropout that keeps its mask. Both sides are given the same random numbers, so that they can be compared."""

import torch

import gradcheck_lab as gl


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


# %% call
x = torch.arange(1, 7, dtype=torch.float64).reshape(2, 3) / 10
report = gl.check(Dropout, x)
