"""The derivative of a product is written as the product divided by the factor, which is 0 / 0 where the factor is
zero.
"""

import torch

import gradcheck_lab as gl


def product(x):
    return x.prod(-1)


def product_backward(grad_output, output, x):
    return ((grad_output * output).unsqueeze(-1) / x,)


# %% call
x = torch.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]], dtype=torch.float64)
report = gl.check((product, product_backward), x)


# %% mended
def product_backward(grad_output, output, x):
    n = x.shape[-1]
    others = [x[..., [j for j in range(n) if j != i]].prod(-1) for i in range(n)]
    return (grad_output.unsqueeze(-1) * torch.stack(others, -1),)
