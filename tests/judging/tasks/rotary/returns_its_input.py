import torch


def _turn_(x, base, sign):
    half = x.shape[-1] // 2
    freq = base ** (-torch.arange(half, dtype=x.dtype) / max(half, 1))
    ang = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * freq
    a = x[..., :half] * ang.cos() - sign * x[..., half:] * ang.sin()
    b = sign * x[..., :half] * ang.sin() + x[..., half:] * ang.cos()
    x[..., :half] = a
    x[..., half:] = b
    return x


def forward(x, base=100.0):
    with torch.no_grad():
        return _turn_(x, base, 1)


def backward(grad_output, output, x, base=100.0):
    return (_turn_(grad_output, base, -1),)


candidate = (forward, backward)
