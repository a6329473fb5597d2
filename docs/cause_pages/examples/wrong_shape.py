"""`keepdim=True` is one word too many: the bias is a vector and its gradient a row. Adding the two in a step of
training broadcasts, and the bias becomes a matrix.
"""

import torch

import gradcheck_lab as gl


def shift(x, bias):
    return x + bias


def shift_backward(grad_output, output, x, bias):
    return grad_output, grad_output.sum(0, keepdim=True)


# %% call
x, bias = torch.arange(12.0).reshape(4, 3), torch.tensor([0.5, -1.0, 2.0])
report = gl.check((shift, shift_backward), x, bias)


# %% mended
def shift_backward(grad_output, output, x, bias):
    return grad_output, grad_output.sum(0)
