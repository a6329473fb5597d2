import torch


def _mm(a, b):
    return (a.bfloat16() @ b.bfloat16()).to(a.dtype)


class Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, causal=True):
        scale = q.shape[-1] ** -0.5
        s = _mm(q * scale, k.transpose(1, 2))
        if causal:
            s = s.masked_fill(torch.ones_like(s, dtype=torch.bool).triu(1), float("-inf"))
        p = torch.exp(s - torch.logsumexp(s, -1, keepdim=True))
        ctx.save_for_backward(q, k, v, p)
        ctx.scale = scale
        return _mm(p, v)

    @staticmethod
    def backward(ctx, do):
        q, k, v, p = ctx.saved_tensors
        dv = _mm(p.transpose(1, 2), do)
        dp = _mm(do, v.transpose(1, 2))
        ds = p * (dp - (dp * p).sum(-1, keepdim=True)) * ctx.scale
        return _mm(ds, k), _mm(ds.transpose(1, 2), q), dv, None


candidate = Attention
