import torch

_aten = torch.ops.aten


class BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps=1e-5):
        out, mean, invstd = _aten._native_batch_norm_legit.no_stats(x, gamma, beta, True, 0.0, eps)
        ctx.save_for_backward(x, gamma, mean, invstd)
        ctx.eps = eps
        return out

    @staticmethod
    def backward(ctx, g):
        x, gamma, mean, invstd = ctx.saved_tensors
        grads = _aten.native_batch_norm_backward.default(
            g.contiguous(), x, gamma.contiguous(), None, None, mean, invstd, True, ctx.eps, [True, True, True]
        )
        return (*grads, None)


candidate = BatchNorm
