"""An approximation is compared with the exact function: the forward takes the tanh form of GELU, and `reference=` is
torch's default, the one with erf. Until both are one function, a difference of their gradients says nothing.
"""

import math

import torch
import torch.nn.functional as F

import gradcheck_lab as gl


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_backward(grad_output, output, x):
    t = torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    return (grad_output * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * slope),)


# %% call
x = torch.tensor([-2.0, -0.5, 0.3, 1.7])
report = gl.check((gelu, gelu_backward), x, reference=F.gelu)


# %% mended
def exact_gelu_in_tanh_form(x):
    return F.gelu(x, approximate="tanh")


report = gl.check((gelu, gelu_backward), x, reference=exact_gelu_in_tanh_form)
