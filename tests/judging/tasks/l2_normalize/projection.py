import torch


class Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        inv = torch.rsqrt(torch.einsum("nd,nd->n", x, x)).unsqueeze(1)
        y = x * inv
        ctx.save_for_backward(y, inv)
        return y

    @staticmethod
    def backward(ctx, g):
        y, inv = ctx.saved_tensors
        return inv * (g - y * torch.einsum("nd,nd->n", y, g).unsqueeze(1))


candidate = Normalize
