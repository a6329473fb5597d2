"""A loop over blocks of four rows forgets the rest. The buffer comes from `empty`, so that the rest is whatever lay
there: often zeros, which look like a gradient.
"""

import torch

import gradcheck_lab as gl


def square(x):
    return x * x


def square_backward(grad_output, output, x):
    grad = torch.empty_like(x)
    for block in range(x.shape[0] // 4):
        rows = slice(4 * block, 4 * block + 4)
        grad[rows] = 2 * x[rows] * grad_output[rows]
    return (grad,)


# %% call
x = torch.arange(1, 17, dtype=torch.float64).reshape(8, 2) / 8
report = gl.check((square, square_backward), x)


# %% mended
def square_backward(grad_output, output, x):
    grad = torch.empty_like(x)
    for start in range(0, x.shape[0], 4):
        rows = slice(start, start + 4)
        grad[rows] = 2 * x[rows] * grad_output[rows]
    return (grad,)
