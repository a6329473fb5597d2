"""Interleaving the two halves of each row, as rotary embeddings do. The backward interleaves once more; it has to
undo it.
"""

import torch

import gradcheck_lab as gl


def interleave(x):
    return x.unflatten(-1, (2, -1)).mT.flatten(-2)


def interleave_backward(grad_output, output, x):
    return (grad_output.unflatten(-1, (2, -1)).mT.flatten(-2),)


# %% call
x = torch.tensor([[0.3, -1.2, 0.8, 0.4, 2.0, -0.7], [1.5, 0.1, -0.4, 1.1, 0.6, 0.9]])
report = gl.check((interleave, interleave_backward), x)


# %% mended
def interleave_backward(grad_output, output, x):
    return (grad_output.unflatten(-1, (-1, 2)).mT.flatten(-2),)
