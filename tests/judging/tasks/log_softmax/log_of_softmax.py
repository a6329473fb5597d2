import torch


def forward(x):
    e = torch.exp(x - x.max(dim=-1, keepdim=True).values)
    return torch.log(e / e.sum(dim=-1, keepdim=True))


def backward(grad_output, output, x):
    return (grad_output - output.exp() * grad_output.sum(dim=-1, keepdim=True),)


candidate = (forward, backward)
