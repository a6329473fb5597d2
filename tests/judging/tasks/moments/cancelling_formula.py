import torch


class Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        mean = x.mean(-1)
        ctx.save_for_backward(x, mean)
        shifted = x + 1e4  # keep everything positive
        return mean, (shifted.square().mean(-1) - shifted.mean(-1).square()).clamp(min=0)

    @staticmethod
    def backward(ctx, g_mean, g_var):
        x, mean = ctx.saved_tensors
        return (g_mean[:, None] + 2 * g_var[:, None] * (x - mean[:, None])) / x.shape[-1]


candidate = Moments
