import torch


class Moments(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        mean = x.sum(-1, keepdim=True) / x.shape[-1]
        centred = x - mean
        ctx.save_for_backward(centred)
        return mean.squeeze(-1), (centred * centred).sum(-1) / x.shape[-1]

    @staticmethod
    def backward(ctx, grad_mean, grad_var):
        (centred,) = ctx.saved_tensors
        return (grad_mean[:, None] + 2 * grad_var[:, None] * centred) / centred.shape[-1]


candidate = Moments
