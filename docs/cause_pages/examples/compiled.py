"""A sine that reads a number from a tensor. `torch.compile` leaves the graph there, and the gradient is right."""

import torch

import gradcheck_lab as gl
from gradcheck_lab.probes.compiled import compiled_quickly


class Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin() if x.abs().max().item() > 0 else x.clone()

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        return grad_output * x.cos()


# %% call
x = torch.tensor([0.5, -1.5, 2.0], dtype=torch.float64)
report = gl.check(Sine, x, probes=[compiled_quickly])
