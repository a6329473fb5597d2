"""The derivative of softplus as it stands in the book. From 710 on `exp(x)` is infinite, and the quotient of two
infinities is NaN; the forward is fine there.
"""

import torch
import torch.nn.functional as F

import gradcheck_lab as gl


def softplus(x):
    return F.softplus(x)


def softplus_backward(grad_output, output, x):
    return (grad_output * torch.exp(x) / (1 + torch.exp(x)),)


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check((softplus, softplus_backward), x)


# %% mended
def softplus_backward(grad_output, output, x):
    return (grad_output * torch.sigmoid(x),)
