"""The derivative of |x| is written with two masks that both hold at 0, which counts the kink twice. Any value from -1
to 1 would do there; 2 is none of them.
"""

import torch

import gradcheck_lab as gl


def absolute(x):
    return x.abs()


def absolute_backward(grad_output, output, x):
    slope = torch.where(x < 0, -1.0, 1.0) + (x == 0)
    return (grad_output * slope,)


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check((absolute, absolute_backward), x)


# %% mended
def absolute_backward(grad_output, output, x):
    return (grad_output * torch.sign(x),)
