"""A kernel walks through memory by the strides of the output. What arrives from `.sum()` is one number with strides
of 0, what arrives from a transposition is in another order.
"""

import torch

import gradcheck_lab as gl


def kernel(grad_output, x):
    """Reads grad_output as a kernel does: from where it starts, by strides of its own."""
    size = grad_output.untyped_storage().nbytes() // grad_output.element_size()
    places = torch.arange(x.numel()).reshape(x.shape) % size
    return grad_output.as_strided((size,), (1,), 0)[places] * x.cos()


sine = gl.Op(torch.sin, lambda grad_output, output, x: (kernel(grad_output, x),), name="sine")

# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check(sine, x)

# %% mended
sine = gl.Op(torch.sin, lambda grad_output, output, x: (kernel(grad_output.contiguous(), x),), name="sine")
