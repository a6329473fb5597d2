import math

import torch

_INV_SQRT2 = 1.0 / math.sqrt(2.0)
_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)


class GELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        cdf = 0.5 * torch.erfc(-x * _INV_SQRT2)
        ctx.save_for_backward(x, cdf)
        return x * cdf

    @staticmethod
    def backward(ctx, grad_output):
        x, cdf = ctx.saved_tensors
        pdf = torch.exp(-0.5 * x * x) * _INV_SQRT_2PI
        return grad_output * (cdf + x * pdf)


candidate = GELU
