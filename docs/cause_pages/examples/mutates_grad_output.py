"""To save memory the backward multiplies in place. The same tensor goes to the other branch of a residual connection,
which then gets a wrong gradient; this one is right.
"""

import torch

import gradcheck_lab as gl


def sigmoid(x):
    return torch.sigmoid(x)


def sigmoid_backward(grad_output, output, x):
    grad_output *= output * (1 - output)
    return (grad_output,)


# %% call
x = torch.tensor([0.3, -1.2, 0.8], dtype=torch.float64)
report = gl.check((sigmoid, sigmoid_backward), x)


# %% mended
def sigmoid_backward(grad_output, output, x):
    return (grad_output * output * (1 - output),)
