import torch


def forward(x, weight, bias):
    xp = torch.nn.functional.pad(x, (1, 1))
    return torch.einsum("nclk,ock->nol", xp.unfold(-1, 3, 1), weight) + bias[None, :, None]


def backward(grad_output, output, x, weight, bias):
    gp = torch.nn.functional.pad(grad_output, (1, 1)).unfold(-1, 3, 1)
    xp = torch.nn.functional.pad(x, (1, 1))
    dx = torch.einsum("nolk,ock->ncl", gp, weight.flip(-1))
    dw = torch.einsum("nclk,nol->ock", xp.unfold(-1, 3, 1), grad_output)
    return dx, dw, grad_output.sum(0)


candidate = (forward, backward)
