"""An affine coupling of a normalising flow. What arrives at `x` has gone through the scale, and the gradient leaves
it out.
"""

import torch

import gradcheck_lab as gl


def coupling(x, log_scale, shift):
    return x * torch.exp(log_scale) + shift


def coupling_backward(grad_output, output, x, log_scale, shift):
    return grad_output, grad_output * x * torch.exp(log_scale), grad_output


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
log_scale = torch.tensor([[0.2, -0.3, 0.5], [0.7, -0.1, 0.4]], dtype=torch.float64)
shift = torch.tensor([[1.0, 0.5, -2.0], [0.7, -0.3, 1.1]], dtype=torch.float64)
report = gl.check((coupling, coupling_backward), x, log_scale, shift)


# %% mended
def coupling_backward(grad_output, output, x, log_scale, shift):
    return grad_output * torch.exp(log_scale), grad_output * x * torch.exp(log_scale), grad_output
