"""An option was added to `forward`, and nobody told `backward`: a Function returns one gradient for every argument."""

import torch

import gradcheck_lab as gl


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, factor=2.0):
        ctx.save_for_backward(x, weight)
        ctx.factor = factor
        return factor * x * weight

    @staticmethod
    def backward(ctx, grad_output):
        x, weight = ctx.saved_tensors
        return ctx.factor * grad_output * weight, ctx.factor * grad_output * x


# %% call
x, weight = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, -1.0, 2.0])
report = gl.check(Scale, x, weight, 3.0)


# %% mended
class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, factor=2.0):
        ctx.save_for_backward(x, weight)
        ctx.factor = factor
        return factor * x * weight

    @staticmethod
    def backward(ctx, grad_output):
        x, weight = ctx.saved_tensors
        return ctx.factor * grad_output * weight, ctx.factor * grad_output * x, None
