"""Gradients are collected by the identity of the tensor, so that `f(x, x)` has one entry where it needs two."""

import torch

import gradcheck_lab as gl


def product(a, b):
    return a * b * b


def product_backward(grad_output, output, a, b):
    grads = {}
    grads[a.data_ptr()] = grad_output * b * b
    grads[b.data_ptr()] = 2 * grad_output * a * b
    return grads[a.data_ptr()], grads[b.data_ptr()]


# %% call
a = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
b = torch.tensor([[1.0, 0.5, -2.0], [0.7, -0.3, 1.1]], dtype=torch.float64)
report = gl.check((product, product_backward), a, b)


# %% mended
def product_backward(grad_output, output, a, b):
    return grad_output * b * b, 2 * grad_output * a * b
