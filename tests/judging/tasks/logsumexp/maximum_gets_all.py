import torch


class LSE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        m, i = x.max(-1, keepdim=True)
        ctx.save_for_backward(i, x)
        return ((x - m).exp().sum(-1, keepdim=True).log() + m).squeeze(-1)

    @staticmethod
    def backward(ctx, g):
        i, x = ctx.saved_tensors
        return torch.zeros_like(x).scatter_(-1, i, g.unsqueeze(-1))


candidate = LSE
