import torch


def forward(x, beta=2.0):
    z = beta * x
    return torch.where(z > 5, x, (z.clamp(min=0) + torch.log1p(torch.exp(-z.abs()))) / beta)


def backward(grad_output, output, x, beta=2.0):
    z = beta * x
    return (torch.where(z > 5, grad_output, grad_output * torch.sigmoid(z)),)


candidate = (forward, backward)
