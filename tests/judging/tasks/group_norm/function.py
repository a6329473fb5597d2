import torch


class GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, groups=2, eps=1e-5):
        n, c, l = x.shape
        g = x.reshape(n, groups, -1)
        var, mean = torch.var_mean(g, dim=-1, keepdim=True, correction=0)
        rstd = torch.rsqrt(var + eps)
        xhat = ((g - mean) * rstd).reshape(n, c, l)
        ctx.save_for_backward(xhat, rstd, weight)
        ctx.groups = groups
        return xhat * weight.view(1, c, 1) + bias.view(1, c, 1)

    @staticmethod
    def backward(ctx, dy):
        xhat, rstd, weight = ctx.saved_tensors
        n, c, l = xhat.shape
        dxhat = (dy * weight.view(1, c, 1)).reshape(n, ctx.groups, -1)
        xh = xhat.reshape(n, ctx.groups, -1)
        dx = (dxhat - dxhat.mean(-1, keepdim=True) - xh * (dxhat * xh).mean(-1, keepdim=True)) * rstd
        return dx.reshape(n, c, l), (dy * xhat).sum((0, 2)), dy.sum((0, 2)), None, None


candidate = GroupNorm
