import torch


def _tables(x, base):
    half = x.shape[-1] // 2
    inv_freq = 1.0 / (base ** (torch.arange(half, dtype=torch.float64) / max(half, 1)))
    theta = torch.outer(torch.arange(x.shape[1], dtype=torch.float64), inv_freq)
    return theta.cos().to(x.dtype), theta.sin().to(x.dtype)


def _rotate(x, cos, sin):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), dim=-1)


class Rotary(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, base=100.0):
        cos, sin = _tables(x, base)
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin)

    @staticmethod
    def backward(ctx, g):
        cos, sin = ctx.saved_tensors
        return _rotate(g, cos, -sin), None


candidate = Rotary
