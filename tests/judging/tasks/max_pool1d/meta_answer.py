import torch


def forward(x):
    return torch.empty(*x.shape[:-1], x.shape[-1] // 2, dtype=x.dtype, device="meta")


def backward(grad_output, output, x):
    return (torch.empty(x.shape, dtype=x.dtype, device="meta"),)


candidate = (forward, backward)
