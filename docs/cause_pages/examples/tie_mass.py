"""The gradient of a maximum goes to every element that equals it. Of two that are tied each gets all of it, which is
twice as much as arrived.
"""

import torch

import gradcheck_lab as gl


def largest(x):
    return x.amax(-1)


def largest_backward(grad_output, output, x):
    is_largest = (x == output.unsqueeze(-1)).to(x.dtype)
    return (grad_output.unsqueeze(-1) * is_largest,)


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check((largest, largest_backward), x)


# %% mended
def largest_backward(grad_output, output, x):
    is_largest = (x == output.unsqueeze(-1)).to(x.dtype)
    share = is_largest / is_largest.sum(-1, keepdim=True)
    return (grad_output.unsqueeze(-1) * share,)
