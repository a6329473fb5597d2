import torch


def _norm(x, groups, eps):
    g = x.reshape(x.shape[0], groups, -1)
    mean = g.mean(-1, keepdim=True)
    rstd = 1 / torch.sqrt(((g - mean) ** 2).mean(-1, keepdim=True) + eps)
    return (g - mean) * rstd, rstd


def forward(x, weight, bias, groups=2, eps=1e-5):
    xhat, _ = _norm(x, groups, eps)
    return xhat.reshape(x.shape) * weight[:, None] + bias[:, None]


def backward(grad_output, output, x, weight, bias, groups=2, eps=1e-5):
    xhat, rstd = _norm(x, groups, eps)
    m = x.shape[1] // groups
    d = (grad_output * weight[:, None]).reshape(xhat.shape)
    dx = rstd * (d - d.sum(-1, keepdim=True) / m - xhat * (d * xhat).sum(-1, keepdim=True) / m)
    dw = (grad_output * xhat.reshape(x.shape)).sum((0, 2))
    return dx.reshape(x.shape), dw, grad_output.sum((0, 2))


candidate = (forward, backward)
