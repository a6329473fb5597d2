import torch


def forward(x, gamma, beta, eps=1e-5):
    mean = x.mean(0)
    return gamma * (x - mean) * torch.rsqrt((x - mean).square().mean(0) + eps) + beta


def backward(grad_output, output, x, gamma, beta, eps=1e-5):
    xc = x - x.mean(0)
    inv = torch.rsqrt(xc.square().mean(0) + eps)
    xhat = xc * inv
    dgamma = (grad_output * xhat).sum(0)
    dbeta = grad_output.sum(0)
    g = grad_output
    g.mul_(gamma)  # in place, saves an allocation
    dx = (g - g.mean(0) - xhat * (g * xhat).mean(0)) * inv
    return dx, dgamma, dbeta


candidate = (forward, backward)
