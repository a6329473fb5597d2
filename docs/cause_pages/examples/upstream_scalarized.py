"""A loss for each row, and a kernel that was written for their mean: it takes the first number of grad_output for all
rows.
"""

import torch

import gradcheck_lab as gl


def squared_error(prediction, target):
    return ((prediction - target) ** 2).sum(-1)


def squared_error_backward(grad_output, output, prediction, target):
    scale = grad_output.reshape(-1)[0]
    return 2 * scale * (prediction - target), -2 * scale * (prediction - target)


# %% call
prediction = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.3, -0.7]])
target = torch.tensor([[1.0, 0.0, 1.5], [0.5, 0.5, -1.0]])
report = gl.check((squared_error, squared_error_backward), prediction, target)


# %% mended
def squared_error_backward(grad_output, output, prediction, target):
    scale = grad_output.unsqueeze(-1)
    return 2 * scale * (prediction - target), -2 * scale * (prediction - target)
