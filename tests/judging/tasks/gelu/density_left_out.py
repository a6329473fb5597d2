import math

import torch


def forward(x):
    return 0.5 * x * torch.erfc(-x / math.sqrt(2))


def backward(grad_output, output, x):
    return (grad_output * 0.5 * torch.erfc(-x / math.sqrt(2)),)


candidate = (forward, backward)
