import torch


class RoPE(torch.autograd.Function):
    @staticmethod
    def _apply(x, base):
        half = x.shape[-1] // 2
        freq = base ** (-torch.arange(half, dtype=x.dtype) / half)
        ang = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * freq
        cos, sin = ang.cos(), ang.sin()
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    @staticmethod
    def forward(ctx, x, base=100.0):
        ctx.base = base
        return RoPE._apply(x, base)

    @staticmethod
    def backward(ctx, g):
        return RoPE._apply(g, ctx.base), None


candidate = RoPE
