"""A backward that saves work where nobody wants a gradient asks about the wrong input: a frozen weight switches that
of `x` off.
"""

import torch

import gradcheck_lab as gl


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx, grad_output):
        x, weight = ctx.saved_tensors
        grad_x = grad_output * weight if ctx.needs_input_grad[1] else None
        grad_weight = grad_output * x if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight


# %% call
x = torch.tensor([0.3, -1.2, 0.8], dtype=torch.float64)
weight = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
report = gl.check(Scale, x, weight)


# %% mended
class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx, grad_output):
        x, weight = ctx.saved_tensors
        grad_x = grad_output * weight if ctx.needs_input_grad[0] else None
        grad_weight = grad_output * x if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight
