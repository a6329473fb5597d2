"""A workspace per shape saves the allocation. The gradient that is returned is the workspace itself, and the next
call of the same shape overwrites it while somebody still holds it.
"""

import torch

import gradcheck_lab as gl

workspaces = {}


class Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        buffer = workspaces.setdefault((x.shape, x.dtype), torch.empty_like(x))
        return torch.mul(grad_output, x.cos(), out=buffer)


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check(Sine, x)


# %% mended
class Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * x.cos()
