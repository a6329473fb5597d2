import torch


def _phase(x, base):
    half = x.shape[-1] // 2
    freqs = base ** (-torch.arange(half).double() / max(half, 1))
    angle = torch.arange(x.shape[1]).double()[:, None] * freqs
    return torch.polar(torch.ones_like(angle), angle)


def _turn(x, phase):
    a, b = x.double().chunk(2, -1)
    z = torch.complex(a.contiguous(), b.contiguous()) * phase
    return torch.cat([z.real, z.imag], -1).to(x.dtype)


def forward(x, base=100.0):
    return _turn(x, _phase(x, base))


def backward(grad_output, output, x, base=100.0):
    return (_turn(grad_output, _phase(x, base).conj()),)


candidate = (forward, backward)
