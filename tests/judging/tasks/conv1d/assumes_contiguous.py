import torch


def _windows(x):
    n, c, l = x.shape
    xp = torch.zeros(n * c * (l + 2), dtype=x.dtype)
    flat = torch.as_strided(x, (n, c, l), (c * l, l, 1))
    xp.as_strided((n, c, l), (c * (l + 2), l + 2, 1), 1).copy_(flat)
    return xp.as_strided((n, c, l, 3), (c * (l + 2), l + 2, 1, 1))


def forward(x, weight, bias):
    return torch.einsum("nclk,ock->nol", _windows(x), weight) + bias[:, None]


def backward(grad_output, output, x, weight, bias):
    dx = torch.einsum("nolk,ock->ncl", _windows(grad_output), weight.flip(-1))
    dw = torch.einsum("nclk,nol->ock", _windows(x), grad_output)
    return dx, dw, grad_output.sum((0, 2))


candidate = (forward, backward)
