import torch


def _total(x):
    if x.shape[-1] == 1:
        return x
    half = x.shape[-1] // 2
    if x.shape[-1] % 2:
        return _total(torch.cat([x[..., 1:], x[..., :1]], -1))
    return _total(x[..., :half] + x[..., half:])


def _norm(x, groups, eps):
    g = x.reshape(x.shape[0], groups, -1)
    d = g - _total(g) / g.shape[-1]
    r = torch.rsqrt(_total(d * d) / g.shape[-1] + eps)
    return d * r, r


def forward(x, weight, bias, groups=2, eps=1e-5):
    return _norm(x, groups, eps)[0].reshape(x.shape) * weight[:, None] + bias[:, None]


def backward(grad_output, output, x, weight, bias, groups=2, eps=1e-5):
    h, r = _norm(x, groups, eps)
    d = (grad_output * weight[:, None]).reshape(h.shape)
    dx = (d - d.mean(-1, keepdim=True) - h * (d * h).mean(-1, keepdim=True)) * r
    return dx.reshape(x.shape), (grad_output * h.reshape(x.shape)).sum((0, 2)), grad_output.sum((0, 2))


candidate = (forward, backward)
