import torch


class NarrowProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b, residual):
        ctx.save_for_backward(a, b)
        return a.float() @ b.float() + residual.float()

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        gf = g.float()
        return (gf @ b.float().t()).to(a.dtype), (a.float().t() @ gf).to(b.dtype), g.to(a.dtype)


candidate = NarrowProduct
