"""A gather by indices that were counted from 1, on a GPU: the kernel reads beyond its tensor, and CUDA ends the context of the
device. From then on every call of the process that uses it raises the same error, whoever makes it. On the CPU the same
mistake is an `IndexError`; the error that CUDA raises stands here for what happens on a GPU.
"""

import torch

import gradcheck_lab as gl

IDS = torch.tensor([1, 2, 4])


def gather(table):
    return table[IDS - 1]


def scatter(grad_output, ids, rows):
    if int(ids.max()) >= rows:  # what a kernel finds out on the device
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")
    return torch.zeros(rows, grad_output.shape[1], dtype=grad_output.dtype).index_add(0, ids, grad_output)


def gather_backward(grad_output, output, table):
    return (scatter(grad_output, IDS, len(table)),)


# %% call
report = gl.check((gather, gather_backward), torch.arange(12, dtype=torch.float64).reshape(4, 3), isolate=True)


# %% mended
def gather_backward(grad_output, output, table):
    return (scatter(grad_output, IDS - 1, len(table)),)
