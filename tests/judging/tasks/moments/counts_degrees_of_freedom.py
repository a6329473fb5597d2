import torch


class Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        m = x.mean(-1, keepdim=True)
        d = x - m
        ctx.save_for_backward(d)
        return m[:, 0], d.square().sum(-1) / max(x.shape[-1] - 1, 1)

    @staticmethod
    def backward(ctx, gm, gv):
        (d,) = ctx.saved_tensors
        n = d.shape[-1]
        return gm[:, None] / n + 2 * gv[:, None] * d / max(n - 1, 1)


candidate = Moments
