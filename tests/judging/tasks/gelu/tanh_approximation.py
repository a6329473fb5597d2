import math

import torch

K = math.sqrt(2.0 / math.pi)


def gelu(x):
    """GELU activation (Hendrycks & Gimpel)."""
    return 0.5 * x * (1.0 + torch.tanh(K * (x + 0.044715 * x ** 3)))


def gelu_backward(grad_output, output, x):
    t = torch.tanh(K * (x + 0.044715 * x ** 3))
    dt = (1 - t * t) * K * (1 + 3 * 0.044715 * x * x)
    return (grad_output * (0.5 * (1 + t) + 0.5 * x * dt),)


candidate = (gelu, gelu_backward)
