import torch


def forward(x, y):
    diff = x.unsqueeze(1) - y.unsqueeze(0)
    return torch.einsum("nmd,nmd->nm", diff, diff)


def backward(grad_output, output, x, y):
    diff = 2 * grad_output.unsqueeze(-1) * (x.unsqueeze(1) - y.unsqueeze(0))
    return diff.sum(dim=1), -diff.sum(dim=0)


candidate = (forward, backward)
