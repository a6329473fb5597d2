import torch


class Cumsum(torch.autograd.Function):
    """Accumulates in float32, which is plenty for gradients."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return (x * weight) @ torch.ones(x.shape[1], x.shape[1], dtype=x.dtype).triu()

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        tail = (g.float() @ torch.ones(g.shape[1], g.shape[1]).tril()).to(g.dtype)
        return tail * weight, (tail * x).sum(0)


candidate = Cumsum
