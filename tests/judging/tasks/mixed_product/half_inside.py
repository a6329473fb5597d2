import torch


class MixedMatmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b, residual):
        ctx.save_for_backward(a, b)
        return (a.bfloat16() @ b.bfloat16()).to(a.dtype) + residual

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        gh = g.bfloat16()
        return (gh @ b.bfloat16().t()).to(a.dtype), (a.bfloat16().t() @ gh).to(b.dtype), g.clone()


candidate = MixedMatmul
