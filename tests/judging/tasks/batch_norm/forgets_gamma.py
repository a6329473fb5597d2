import torch


class BN(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps=1e-5):
        mu = x.mean(0, keepdim=True)
        inv = (x.var(0, keepdim=True, unbiased=False) + eps).rsqrt()
        xhat = (x - mu) * inv
        ctx.save_for_backward(xhat, inv)
        return gamma * xhat + beta

    @staticmethod
    def backward(ctx, dy):
        xhat, inv = ctx.saved_tensors
        dx = (dy - dy.mean(0, keepdim=True) - xhat * (dy * xhat).mean(0, keepdim=True)) * inv
        return dx, (dy * xhat).sum(0), dy.sum(0), None


candidate = BN
