"""The mask that forward saved is reused as the buffer of the gradient. A second backward through the same graph, as
`retain_graph=True` allows, multiplies by the first gradient.
"""

import torch

import gradcheck_lab as gl


class LeakyRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        slope = torch.where(x > 0, 1.0, 0.1).to(x.dtype)
        ctx.slope = slope
        return x * slope

    @staticmethod
    def backward(ctx, grad_output):
        ctx.slope *= grad_output
        return ctx.slope


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check(LeakyRelu, x)


# %% mended
class LeakyRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        slope = torch.where(x > 0, 1.0, 0.1).to(x.dtype)
        ctx.slope = slope
        return x * slope

    @staticmethod
    def backward(ctx, grad_output):
        return ctx.slope * grad_output
