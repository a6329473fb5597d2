import torch


class PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, slope):
        ctx.save_for_backward(x, slope)
        return x.clamp(min=0) + slope * x.clamp(max=0)

    @staticmethod
    def backward(ctx, g):
        x, slope = ctx.saved_tensors
        grad_x = torch.where(x > 0, g, g * slope)
        grad_slope = (g * x.clamp(max=0)).sum(0)
        return grad_x, grad_slope


candidate = PReLU
