"""`.float()` was added for a kernel that takes nothing else. The gradient is right to seven digits where the dtype
has sixteen; `torch.autograd.gradcheck` allows 1e-5 and passes it.
"""

import torch

import gradcheck_lab as gl


def tanh(x):
    return torch.tanh(x)


def tanh_backward(grad_output, output, x):
    y = output.float()
    return ((grad_output.float() * (1 - y * y)).to(x.dtype),)


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check((tanh, tanh_backward), x)


# %% mended
def tanh_backward(grad_output, output, x):
    return (grad_output * (1 - output * output),)
