import torch


class BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps=1e-5):
        var, mean = torch.var_mean(x, 0, correction=0)
        invstd = torch.rsqrt(var + eps)
        xhat = (x - mean) * invstd
        ctx.save_for_backward(xhat, gamma, invstd)
        return xhat * gamma + beta

    @staticmethod
    def backward(ctx, g):
        xhat, gamma, invstd = ctx.saved_tensors
        n = max(xhat.shape[0], 1)
        dgamma = (g * xhat).sum(0)
        dbeta = g.sum(0)
        dx = gamma * invstd * (g - dbeta / n - xhat * (dgamma / n))
        return dx, dgamma, dbeta, None


candidate = BatchNorm
