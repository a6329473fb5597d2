import torch


def forward(a, b):
    return (a * b).sum(-1) * torch.rsqrt(a.square().sum(-1)) * torch.rsqrt(b.square().sum(-1))


def backward(grad_output, output, a, b):
    return torch.full_like(a, float("nan")), torch.full_like(b, float("nan"))


candidate = (forward, backward)
