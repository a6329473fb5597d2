"""A fast path for `torch.compile` drops a factor of the derivative. Uncompiled, as tests run it, the gradient is right.

The probe is not among the default ones, for its cost: name it, or pass `--compile` on the command line.
"""

import torch

import gradcheck_lab as gl
from gradcheck_lab.probes.compiled import compiled_quickly


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        if torch.compiler.is_compiling():
            return grad_output * x
        return grad_output * 2 * x


# %% call
x = torch.tensor([0.5, -1.5, 2.0], dtype=torch.float64)
report = gl.check(Square, x, probes=[compiled_quickly])


# %% mended
class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * 2 * x
