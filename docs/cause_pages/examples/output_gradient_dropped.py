"""Attention kernels return the logarithm of the normaliser beside the output. Its gradient was thought to be never
asked for.
"""

import torch

import gradcheck_lab as gl


class SoftmaxAndNormaliser(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        p = torch.softmax(x, -1)
        ctx.save_for_backward(p)
        return p, torch.logsumexp(x, -1)

    @staticmethod
    def backward(ctx, grad_p, grad_normaliser):
        (p,) = ctx.saved_tensors
        return p * (grad_p - (grad_p * p).sum(-1, keepdim=True))


# %% call
x = torch.tensor([[0.3, -1.2, 0.8], [1.5, 0.1, -0.4]], dtype=torch.float64)
report = gl.check(SoftmaxAndNormaliser, x)


# %% mended
class SoftmaxAndNormaliser(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        p = torch.softmax(x, -1)
        ctx.save_for_backward(p)
        return p, torch.logsumexp(x, -1)

    @staticmethod
    def backward(ctx, grad_p, grad_normaliser):
        (p,) = ctx.saved_tensors
        return p * (grad_p - (grad_p * p).sum(-1, keepdim=True)) + grad_normaliser.unsqueeze(-1) * p
