"""The derivative of a product of complex numbers. torch's convention is the conjugate of the other factor."""

import torch

import gradcheck_lab as gl


def product(a, b):
    return a * b


def product_backward(grad_output, output, a, b):
    return grad_output * b, grad_output * a


# %% call
a = torch.tensor([0.3 - 1.2j, 0.8 + 0.5j, 1.5 - 0.4j], dtype=torch.complex128)
b = torch.tensor([1.0 + 0.5j, -2.0 + 0.7j, 0.3 - 1.1j], dtype=torch.complex128)
report = gl.check((product, product_backward), a, b)


# %% mended
def product_backward(grad_output, output, a, b):
    return grad_output * b.conj(), grad_output * a.conj()
