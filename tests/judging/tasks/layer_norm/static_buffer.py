import torch

_workspace = {}


def _buffer(name, like):
    key = (name, tuple(like.shape), like.dtype)
    if key not in _workspace:
        _workspace[key] = torch.empty_like(like)
    return _workspace[key]


def forward(x, weight, bias, eps=1e-5):
    mu = x.mean(-1, keepdim=True)
    rstd = torch.rsqrt((x - mu).square().mean(-1, keepdim=True) + eps)
    out = _buffer("out", x)
    torch.sub(x, mu, out=out)
    out.mul_(rstd).mul_(weight).add_(bias)
    return out


def backward(grad_output, output, x, weight, bias, eps=1e-5):
    mu = x.mean(-1, keepdim=True)
    rstd = torch.rsqrt((x - mu).square().mean(-1, keepdim=True) + eps)
    xhat = (x - mu) * rstd
    g = grad_output * weight
    dx = _buffer("dx", x)
    dx.copy_((g - g.mean(-1, keepdim=True) - xhat * (g * xhat).mean(-1, keepdim=True)) * rstd)
    return dx, (grad_output * xhat).sum(0), grad_output.sum(0)


candidate = (forward, backward)
