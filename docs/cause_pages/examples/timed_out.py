"""The backward solves for the root with a loop that ends when two steps agree to 1e-20, which rounding never lets
them do.
"""

import torch

import gradcheck_lab as gl


def cube_root(x):
    return x.sign() * x.abs() ** (1 / 3)


def cube_root_backward(grad_output, output, x):
    y, step = torch.ones_like(x), torch.ones_like(x)
    while (step.abs() > 1e-20).any():
        step = (y**3 - x) / (3 * y**2)
        y = y - step
    return (grad_output / (3 * y**2),)


# %% call
report = gl.check((cube_root, cube_root_backward), torch.tensor([2.0, 5.0, 7.0], dtype=torch.float64), timeout=4)


# %% mended
def cube_root_backward(grad_output, output, x):
    return (grad_output / (3 * output**2),)
