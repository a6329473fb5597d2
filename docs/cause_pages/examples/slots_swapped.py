"""Both operands have the same shape, and each gets the gradient of the other."""

import torch

import gradcheck_lab as gl


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad_output):
        a, b = ctx.saved_tensors
        return grad_output * a, grad_output * b


# %% call
a = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]])
b = torch.tensor([[1.0, 0.5, -2.0], [0.7, -0.3, 1.1]])
report = gl.check(Product, a, b)


# %% mended
class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad_output):
        a, b = ctx.saved_tensors
        return grad_output * b, grad_output * a
