"""The gradient of a weight that is stored as (out, in). The product is written for the other convention, and with a
square weight the shapes fit.
"""

import torch

import gradcheck_lab as gl


def linear(x, weight):
    return x @ weight.T


def linear_backward(grad_output, output, x, weight):
    return grad_output @ weight, x.T @ grad_output


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4], [0.2, 0.9, 1.1], [-0.6, 0.4, 0.0]])
weight = torch.tensor([[1.0, 0.5, -2.0], [0.7, -0.3, 1.1], [0.2, 0.9, 0.4]])
report = gl.check((linear, linear_backward), x, weight)


# %% mended
def linear_backward(grad_output, output, x, weight):
    return grad_output @ weight, grad_output.T @ x
