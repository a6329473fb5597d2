"""The rows of a table are scaled by a kernel that takes for granted that its input is contiguous, as it is in the
author's test. A transposed view of the same numbers gets the gradient of other numbers.
"""

import torch

import gradcheck_lab as gl


def square(x):
    return x * x


def square_backward(grad_output, output, x):
    flat = x.as_strided((x.numel(),), (1,), x.storage_offset())  # the memory as it lies
    return (2 * flat.reshape(x.shape) * grad_output,)


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check((square, square_backward), x)


# %% mended
def square_backward(grad_output, output, x):
    flat = x.contiguous().view(-1)
    return (2 * flat.reshape(x.shape) * grad_output,)
