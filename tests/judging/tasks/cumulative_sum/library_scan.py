import torch


def forward(x, weight):
    return (x * weight).cumsum_(1)


def backward(grad_output, output, x, weight):
    tail = torch.empty_like(grad_output)
    torch.cumsum(grad_output.flip(1), 1, out=tail)
    tail = tail.flip(1)
    return tail * weight, (tail * x).sum(0)


candidate = (forward, backward)
