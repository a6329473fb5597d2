"""The buffer of the gradient is made without a dtype, so that it is float32 whatever the input is."""

import torch

import gradcheck_lab as gl


def first_rows(x):
    return x[:2] * 3


def first_rows_backward(grad_output, output, x):
    grad = torch.zeros(x.shape)
    grad[:2] = 3 * grad_output
    return (grad,)


# %% call
x = torch.arange(12, dtype=torch.float64).reshape(4, 3)
report = gl.check((first_rows, first_rows_backward), x)


# %% mended
def first_rows_backward(grad_output, output, x):
    grad = torch.zeros_like(x)
    grad[:2] = 3 * grad_output
    return (grad,)
