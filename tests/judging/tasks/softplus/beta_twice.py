import torch


def forward(x, beta=2.0):
    z = beta * x
    return torch.where(z > 0, z + torch.log1p(torch.exp(-z.abs())), torch.log1p(torch.exp(-z.abs()))) / beta


def backward(grad_output, output, x, beta=2.0):
    return (grad_output * torch.sigmoid(beta * x) * beta,)


candidate = (forward, backward)
