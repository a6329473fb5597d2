"""The mean is divided by 4, the batch size of the author's test."""

import torch

import gradcheck_lab as gl


def column_means(x):
    return x.mean(0)


def column_means_backward(grad_output, output, x):
    return ((grad_output / 4).expand(x.shape),)


# %% call
x = torch.arange(12, dtype=torch.float64).reshape(4, 3)
report = gl.check((column_means, column_means_backward), x)


# %% mended
def column_means_backward(grad_output, output, x):
    return ((grad_output / x.shape[0]).expand(x.shape),)
