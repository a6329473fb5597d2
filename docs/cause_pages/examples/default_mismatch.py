"""The option has a default in two places, and the two were changed at different times."""

import torch

import gradcheck_lab as gl


def leaky_relu(x, *, slope=0.01):
    return torch.where(x > 0, x, slope * x)


def leaky_relu_backward(grad_output, output, x, *, slope=0.1):
    return (torch.where(x > 0, grad_output, slope * grad_output),)


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check(gl.Op(leaky_relu, leaky_relu_backward), x)


# %% mended
def leaky_relu_backward(grad_output, output, x, *, slope=0.01):
    return (torch.where(x > 0, grad_output, slope * grad_output),)
