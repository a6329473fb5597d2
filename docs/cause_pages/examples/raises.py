"""The backward has a slip that Python finds when the line runs: a reshape to a size that fits another batch."""

import torch

import gradcheck_lab as gl


class RowSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sum(1)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output.expand(x.shape)


# %% call
report = gl.check(RowSum, torch.arange(12, dtype=torch.float64).reshape(4, 3))


# %% mended
class RowSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sum(1)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output.unsqueeze(1).expand(x.shape)
