import torch


class SquaredDistances(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        out = torch.empty(x.shape[0], y.shape[0], dtype=x.dtype, device=x.device)
        for i in range(x.shape[0]):
            out[i] = (x[i] - y).square().sum(-1)
        return out

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        dx = torch.stack([2 * (g[i, :, None] * (x[i] - y)).sum(0) for i in range(len(x))]) if len(x) else x.clone()
        dy = torch.zeros_like(y)
        for i in range(len(x)):
            dy += 2 * g[i, :, None] * (y - x[i])
        return dx, dy


candidate = SquaredDistances
