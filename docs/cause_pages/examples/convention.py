"""At 0 the derivative of relu is not defined: autograd takes 0, this backward takes 1. Both are subgradients."""

import torch

import gradcheck_lab as gl


def relu(x):
    return torch.relu(x)


def relu_backward(grad_output, output, x):
    return (torch.where(x >= 0, grad_output, 0),)


# %% call
x = torch.tensor([-1.0, 0.0, 2.0])
report = gl.check((relu, relu_backward), x)
