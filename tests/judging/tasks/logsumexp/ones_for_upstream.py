import torch


def forward(x):
    m = x.amax(-1, keepdim=True)
    return (m + (x - m).exp().sum(-1, keepdim=True).log()).squeeze(-1)


def backward(grad_output, output, x):
    return (torch.exp(x - output.unsqueeze(-1)),)


candidate = (forward, backward)
