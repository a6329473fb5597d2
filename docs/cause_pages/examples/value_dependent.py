"""The Huber loss is a square near zero and a line beyond. The backward has the square alone, and the author's
residuals were all small.
"""

import torch

import gradcheck_lab as gl


def huber(x):
    return torch.where(x.abs() <= 1, x**2 / 2, x.abs() - 0.5)


def huber_backward(grad_output, output, x):
    return (grad_output * x,)


# %% call
x = torch.tensor([[0.3, -0.2, 0.8], [0.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check((huber, huber_backward), x)


# %% mended
def huber_backward(grad_output, output, x):
    return (grad_output * x.clamp(-1, 1),)
