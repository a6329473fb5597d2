import torch


def forward(x):
    m = x.max(dim=1, keepdim=True).values
    return x - m - torch.log(torch.sum(torch.exp(x - m), dim=1, keepdim=True))


def backward(grad_output, output, x):
    p = torch.exp(output)
    return (p * (grad_output - torch.sum(p * grad_output, dim=1, keepdim=True)),)


candidate = (forward, backward)
