import torch


def forward(a, b, residual):
    return a @ b + residual


def backward(grad_output, output, a, b, residual):
    return grad_output @ b.T, a.T @ grad_output, torch.zeros_like(residual)


candidate = (forward, backward)
