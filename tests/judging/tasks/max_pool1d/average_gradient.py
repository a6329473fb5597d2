import torch


class Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.reshape(*x.shape[:-1], x.shape[-1] // 2, 2).max(dim=-1).values

    @staticmethod
    def backward(ctx, g):
        return (g / 2).repeat_interleave(2, dim=-1)


candidate = Pool
