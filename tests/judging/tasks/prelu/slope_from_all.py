import torch


def forward(x, slope):
    return torch.where(x >= 0, x, x * slope)


def backward(grad_output, output, x, slope):
    dx = grad_output * torch.where(x >= 0, torch.ones_like(x), slope.expand_as(x))
    return dx, (grad_output * x).sum(0)


candidate = (forward, backward)
