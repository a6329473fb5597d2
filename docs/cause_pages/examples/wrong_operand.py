"""A square weight hides a transposition that is missing: the gradient of `x` needs the transposed weight."""

import torch

import gradcheck_lab as gl


def project(x, weight):
    return x @ weight


def project_backward(grad_output, output, x, weight):
    return grad_output @ weight, x.T @ grad_output


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4], [0.2, 0.9, 1.1], [-0.6, 0.4, 0.0]])
weight = torch.tensor([[1.0, 0.5, -2.0], [0.7, -0.3, 1.1], [0.2, 0.9, 0.4]])
report = gl.check((project, project_backward), x, weight)


# %% mended
def project_backward(grad_output, output, x, weight):
    return grad_output @ weight.T, x.T @ grad_output
