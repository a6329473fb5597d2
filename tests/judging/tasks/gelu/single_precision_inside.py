import math

import torch


class GELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        h = x.float()
        return (0.5 * h * torch.erfc(-h / math.sqrt(2))).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        h = x.float()
        d = 0.5 * torch.erfc(-h / math.sqrt(2)) + h * torch.exp(-h * h / 2) / math.sqrt(2 * math.pi)
        return (g.float() * d).to(g.dtype)


candidate = GELU
