import torch


def forward(x, gamma, beta, eps=1e-5):
    mean = x.mean(0)
    var = x.var(0, unbiased=False)
    return gamma * (x - mean) / torch.sqrt(var + eps) + beta


def backward(grad_output, output, x, gamma, beta, eps=1e-5):
    n = x.shape[0]
    std = torch.sqrt(x.var(0, unbiased=False) + eps)
    xhat = (x - x.mean(0)) / std
    dxhat = grad_output * gamma
    m = max(n - 1, 1)
    dx = (dxhat - dxhat.sum(0) / n - xhat * (dxhat * xhat).sum(0) / m) / std
    return dx, (grad_output * xhat).sum(0), grad_output.sum(0)


candidate = (forward, backward)
