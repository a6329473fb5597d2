import torch


class Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        mean = x.mean(-1)
        return mean, (x - mean[:, None]).square().mean(-1)

    @staticmethod
    def backward(ctx, grad_mean, grad_var):
        return grad_mean[:, None].expand(ctx.shape) / ctx.shape[-1]


candidate = Moments
