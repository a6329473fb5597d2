import torch


def forward(x, weight, eps=1e-5):
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def backward(grad_output, output, x, weight, eps=1e-5):
    rms = torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    xhat = x / rms
    gw = grad_output * weight
    dx = (gw - xhat * (gw * xhat).mean(-1, keepdim=True)) / rms
    dw = (grad_output * xhat).mean(0)
    return dx, dw


candidate = (forward, backward)
