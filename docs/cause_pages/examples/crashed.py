"""A backward calls compiled code that ends the process on what it does not take; `os.abort()` stands for it here.
With `isolate=True`, or a `timeout=`, each check runs in a process of its own, and the report has what was known until
then.
"""

import os

import torch

import gradcheck_lab as gl


def kernel(grad_output, x):
    if x.dtype != torch.float32:
        os.abort()  # what a failed assertion in C does
    return 2 * x * grad_output


square = gl.Op(lambda x: x * x, lambda grad_output, output, x: (kernel(grad_output, x),), name="square")

# %% call
report = gl.check(square, torch.arange(12, dtype=torch.float64).reshape(4, 3), isolate=True)


# %% mended
def kernel(grad_output, x):
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"square takes float32 and float64, not {x.dtype}")
    return 2 * x * grad_output
